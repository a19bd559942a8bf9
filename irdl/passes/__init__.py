"""Graph -> Graph on the way down. `pipeline` lists the passes in order, `manager` runs them.

    inline              what only mattered to gradients goes
    factorize           systems, factors, eigenvalues -> elimination and rotations (`factorization`)
    complex_parts       complex numbers -> pairs of real ones (`complex_functions`)
    widen               floats of 16 bits are computed in float32 (`half_sums`: sums are rounded once)
    simplify            the ops' equations to a fixed point (`transposes`: where those go)
    prune               dead parts of loops (`ops.prune`)
    early_exit          scans of which all that is left does nothing end there
    if_convert          conds of cheap sides become straight code
    remat               what is stored for a backward loop, and what is computed again
    distribute          what does not need a loop's carry leaves the loop

and then, as a backend's pipeline asks for them:

    running             running sums of long lines, in pieces
    expand              what would be done one element at a time: extrema (`search`), overlapping windows (`overlap`)
    round_early         floats of 16 bits are rounded by who makes them
    fuse                groups of nodes, each one loop nest
    precompute          what depends on static arguments alone

`maker` is how a pass writes what stands for a node.
"""
