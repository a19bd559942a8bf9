"""Graph -> Program -> text.

    lowering            graph -> program, whatever the machine
    cpu, cuda           a machine each: its passes, its schedule of a group, and its text
    shared              kernels of one form become one function

`cpu` and `cuda` know `lowering`, and nothing of each other.
"""
