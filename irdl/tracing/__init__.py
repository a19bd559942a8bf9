"""NumPy code -> Graph."""
