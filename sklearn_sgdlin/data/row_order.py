"""The order in which a sweep visits rows: tiles of blocks of neighbours, both shuffled."""

from typing import NamedTuple

import numpy as np

from ..model.objective import Objective

# Bytes of rows, as float64, that are stepped through in random order: a tile. Larger tiles fall out
# of the second-level cache; smaller ones mix fewer rows.
TILE_BYTES = 1 << 18

# Bytes of neighbours in the file, as float64, that are read one after the other: a block. Shorter
# ones do not stream from memory; longer ones leave fewer blocks to shuffle.
BLOCK_BYTES = 1 << 15

# A tile has at least so many blocks, from anywhere in the file, so that one sorted by y is mixed.
BLOCKS_PER_TILE = 8

# There are at least so many blocks: fewer rows than that are blocks of their own, and are shuffled
# without any restriction.
BLOCKS = 512


class Tiling(NamedTuple):
    """How rows are cut into blocks and gathered into tiles."""

    block_rows: int  # consecutive rows of a block; the last block may have fewer
    n_blocks: int
    tile_rows: int  # rows of a tile, a multiple of block_rows; the last tile may have fewer

    @classmethod
    def of(cls, n_rows, row_bytes):
        """Return the tiling of so many rows that have so many bytes each as float64."""
        tile_rows = max(TILE_BYTES // row_bytes, 1)
        block_rows = max(
            min(BLOCK_BYTES // row_bytes, tile_rows // BLOCKS_PER_TILE, n_rows // BLOCKS), 1
        )
        n_blocks = -(-n_rows // block_rows)
        return cls(block_rows, n_blocks, block_rows * min(tile_rows // block_rows, n_blocks))

    def order(self, rng=None):
        """Return the order of blocks, and of positions within a tile; shuffled if rng is given.

        Random blocks are gathered into a tile and rows are permuted inside it, so memory is
        read in long runs and neighbours in the file do not follow each other (CorgiPile,
        Xu et al., 2022).
        """
        shuffled = np.arange if rng is None or self.n_blocks == 1 else rng.permutation
        return (
            shuffled(self.n_blocks).astype(np.intp, copy=False),
            shuffled(self.tile_rows).astype(np.intp, copy=False),
        )


class SweepPlan(NamedTuple):
    """What a compiled sweep needs beside the rows, dense or sparse."""

    order: tuple  # blocks, in the order of visits, and the order of positions within each tile
    block_rows: int  # see `Tiling`
    objective: Objective
    penalty_every: int  # rows between two steps of the penalty, a power of two, at least 2
    # `learning_rate`, `power_t`, `implicit`, and the mean of ||z||**2 without the intercept.
    step_rule: tuple
    theta: np.ndarray  # of shape (n_coordinates,), the iterate, changed in place
    rows_seen: int  # rows before this sweep, for the rate
    mean: np.ndarray  # of shape (n_coordinates,), the average of the path, changed in place
    average_rows: float  # rows in the average before this sweep
    forget: float  # how fast the average forgets them: 0 weights all alike
