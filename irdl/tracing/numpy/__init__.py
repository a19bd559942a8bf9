"""NumPy's functions on what stands for arrays.

protocol            NumPy's protocols, operators and methods
table               from a function of NumPy's to its traced form
creation            NumPy and SciPy as traced code sees them
layout              how NumPy lays results out
lists               lists of traced arrays as arguments
builtin_type        `type`, and `scalars`: NumPy's scalar types
vectorized, flat    `np.vectorize`, `x.flat`; `iteration`: `np.nditer`

ufuncs              with `ufunc_rules`, `ufunc_methods` and `folding`; `mathematics` (Python's) and `special` (SciPy's)
functions           what has no other place
shaping             views, with `windowing`; `joining` and `rearranging` put arrays together
indexing            with `masks` (`same_masks`), `moving_slices`, `choosing` and `picking`
reductions          with `missing` (nan left out), `statistics` and `quantiles`
products            contractions; `linear`, `factorizations` and `spectral` are of matrices
scipy_functions     SciPy's triangular systems, Cholesky factors and filters
sorting, searching  lines in order, and numbers looked up
signals             with `polynomials`, `fourier` and `complexes`
"""
