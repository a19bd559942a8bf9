"""How large a register tile is: one rule, used by packing and by the loop nests."""

from __future__ import annotations


def column_vectors(rows: int, columns: int, accumulators: int, lanes: int, registers: int) -> int:
    """Vectors along a row of the tile, for each of `accumulators` that share the loop.

    Few rows leave registers over, which wider rows use: an accumulator each hides the latency of the multiply-add.
    """
    most = max(1, -(-columns // lanes))
    budget = 8 if rows <= 2 else 4
    return max(1, min(most, budget // accumulators))


def row_count(rows: int, vectors: int, accumulators: int, registers: int) -> int:
    """Rows of the tile: all accumulators, one loaded vector each, and two to spare fit in the registers."""
    across = vectors * accumulators
    return max(1, min(rows, 12, (registers - 2) // across - 1))
