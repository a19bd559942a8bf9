"""Elimination in NumPy, to be traced: of small matrices element by element, of larger ones column by column."""
