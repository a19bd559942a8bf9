"""NumPy's functions on what stands for arrays."""
