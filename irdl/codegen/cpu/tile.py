"""How large a register tile is: one rule, used by packing and by the loop nests."""

from __future__ import annotations

#: Rows of one vector each that hide the latency of the multiply-add.
_ROWS_APART = 8
#: Accumulators of a short row, which leave registers for what they are made of.
_SHORT = 12
#: How much taller a tile has to be to be better although narrower.
_TALLER = 1.6


def column_vectors(rows: int, columns: int, accumulators: int, lanes: int, registers: int, packed: bool, apart: bool = False) -> int:
    """Vectors along a row of the tile, for each of `accumulators` that share the loop.

    Few rows leave registers over, which wider rows use: an accumulator each hides the latency of the multiply-add. A single
    row reads each number of the matrix once and waits for memory: where that is not packed, it reads long lines of it; and
    a short one is one tile, as there is no next one that its epilogue could overlap with. Columns that are `apart`, each with rows of its own as in a depthwise convolution, share nothing, and neighbouring rows much.
    """
    if apart and rows >= _ROWS_APART:
        return 1
    most = max(1, -(-columns // lanes))
    budget = 8 if rows <= 2 else 4
    if rows == 1 and accumulators > 1 and most * accumulators <= _SHORT:
        budget = _SHORT
    elif rows == 1 and accumulators == 1 and not packed:
        budget = registers // 2
    vectors = max(1, min(most, budget // accumulators))
    # A narrower tile that takes far more of the rows at a time reads the columns less often.
    narrow = vectors - 1
    if vectors == budget and _height(rows, narrow, registers) > _TALLER * _height(rows, vectors, registers):
        return narrow
    return vectors


def _height(rows: int, vectors: int, registers: int) -> float:
    """Rows of a tile on average."""
    rows = max(rows, 1)
    return rows / -(-rows // row_count(rows, vectors, 1, registers))


def row_count(rows: int, vectors: int, accumulators: int, registers: int) -> int:
    """Rows of the tile: all accumulators, one loaded vector each, and two to spare fit in the registers."""
    across = vectors * accumulators
    return max(1, min(rows, 12, (registers - 2) // across - 1))
