"""
Training on files larger than memory
====================================

Parquet files are read block by block, and `partial_fit` learns from a few blocks at a time. The
process that trains may use less memory than the data take, and prints how much it used. It runs on
Linux only.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import track

from sklearn_sgdlin import SGDLinearRegressor

COLUMNS = [f"x{j}" for j in range(20)]
BLOCK_ROWS = 10_000  # of a row group of a Parquet file, which is read as a whole
TILE_BLOCKS = 8  # blocks that are passed to partial_fit together
FILE_ROWS = 50 * BLOCK_ROWS

# %%
# The data are in the order of time, and the columns drift, so that neighbouring rows are similar.
# The picture shows this for three columns.


def draw():
    import matplotlib.pyplot as plt  # not needed where the model is trained

    time = np.linspace(0, 1, 1000)
    X, _ = rows(np.random.default_rng(0), time)
    _, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    for column in (0, 2, 4):
        ax.plot(time, X[:, column] / X[:, column].std(), label=COLUMNS[column], linewidth=0.7)
    ax.set(xlabel="time", ylabel="value / standard deviation", title="Three of the columns")
    ax.legend(loc="upper right")
    plt.show()


def rows(rng, time):
    X = rng.normal(size=(len(time), len(COLUMNS))) * np.logspace(-3, 3, len(COLUMNS))
    X += 3 * X.std(axis=0) * np.sin(6 * time[:, None] + np.arange(len(COLUMNS)))
    y = X @ (1 / np.logspace(-3, 3, len(COLUMNS))) + 2 * rng.normal(size=len(time))
    return X, y


def write(folder, megabytes):
    n_files = max(round(megabytes * 1e6 / (FILE_ROWS * 8 * (len(COLUMNS) + 1))), 1)
    rng = np.random.default_rng(0)
    for number, time in enumerate(np.array_split(np.linspace(0, 1, n_files * FILE_ROWS), n_files)):
        X, y = rows(rng, time)
        table = pa.table([*X.T, y], names=[*COLUMNS, "y"])
        pq.write_table(table, folder / f"{number:03}.parquet", row_group_size=BLOCK_ROWS,
                       use_dictionary=False, compression="none")  # fmt: skip


# %%
# In each epoch the blocks are visited in a new random order. A few of them are put together to a
# tile for `partial_fit`, which visits its rows in random order. A single block would not be random
# enough, because its rows are from about the same time.


def tiles(blocks, rng):
    order = rng.permutation(len(blocks))
    return [[blocks[i] for i in tile] for tile in
            np.array_split(order, -(-len(blocks) // TILE_BLOCKS))]  # fmt: skip


def read(data, tile):
    fragments = (
        data.format.make_fragment(path, data.filesystem, row_groups=[row_group])
        for path, row_group in tile
    )
    batches = [batch for fragment in fragments for batch in fragment.to_batches(use_threads=False)]
    X = [batch.select(COLUMNS).to_tensor(row_major=True).to_numpy() for batch in batches]
    return np.concatenate(X), np.concatenate([batch["y"] for batch in batches])


def memory(name):
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[name].split()[0]) * 1024


def train(folder, limit, n_epochs=2):
    # Memory that the libraries have reserved so far is not counted: it depends on the machine.
    resource.setrlimit(resource.RLIMIT_DATA, (memory("VmData") + limit * 10**6,) * 2)
    data = ds.dataset(folder, format="parquet")
    blocks = [
        (path, i) for path in data.files for i in range(pq.read_metadata(path).num_row_groups)
    ]
    X_new, y_new = rows(np.random.default_rng(1), np.linspace(0, 1, 10_000))
    rng = np.random.default_rng(0)
    model, n_rows = SGDLinearRegressor(random_state=0), 0
    for epoch in range(1, n_epochs + 1):
        bar = track(tiles(blocks, rng), f"epoch {epoch}", console=Console(stderr=True))
        for tile in bar:
            X, y = read(data, tile)
            model.partial_fit(X, y)
            n_rows += len(y)
        print(f"epoch {epoch}: {n_rows} rows, R² on new rows {model.score(X_new, y_new):.4f}")
    size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
    peak = memory("VmHWM") / 1e6
    print(f"data {size:.0f} MB, allowed for them {limit} MB, peak of the process {peak:.0f} MB")


# %%
# The training runs in a separate process with the limit on its memory. The limit includes memory
# that is reserved but not used, such as memory pools and stacks of threads. Therefore Arrow uses
# the allocator of the system, with one pool for all threads, and few threads are started.

THRIFTY = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "ARROW_IO_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "1",
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=400, help="of the data set")
    parser.add_argument("--limit", type=int, default=200, help="megabytes allowed for the data")
    parser.add_argument("--train", help="folder with the data: train there and nothing else")
    options = parser.parse_args()
    if options.train:
        train(options.train, options.limit)
    else:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), options.megabytes)
            arguments = ["--train", folder, "--limit", str(options.limit)]
            command = [sys.executable, sys.argv[0], *arguments]
            print(subprocess.check_output(command, env=os.environ | THRIFTY, text=True))
        draw()
