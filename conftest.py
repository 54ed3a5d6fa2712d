"""Pictures are drawn to memory in tests and doctests, never to a screen."""

import os

os.environ["MPLBACKEND"] = "agg"
