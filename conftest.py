"""Pictures are drawn to memory in tests and doctests; sklearn_sgdlin.dask needs its extra."""

import os
from importlib.util import find_spec

os.environ["MPLBACKEND"] = "agg"
collect_ignore = [] if find_spec("distributed") else ["sklearn_sgdlin/dask.py"]
