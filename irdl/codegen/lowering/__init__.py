"""Graph -> Program, whatever the machine.

lower               every value gets a layout, every node becomes kernels, control becomes loops
layout              where a value lies: views change strides alone
places              where values are computed
in_place            what may be overwritten where it lies
stored              what a function stores into is made where it lies
group               a group of nodes with all that it reads and writes; `body` is what its elements are
schedule            what a machine decides: the loops of a group, and of elements that are moved
nest                loops around statements
moves               ops that are kernels of their own; `running` sums, `sorting` and `scattering` have files of theirs
"""
