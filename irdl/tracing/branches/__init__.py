"""Branches of Python on values that the trace does not know, as `cond` and `while`.

source      a function that has such a branch is found in its file, and traced again as
rewrite     its branches and loops as calls; `expressions` too, `scopes` are what blocks bind and how they
            are left, `nodes` pieces of code
flow        what is called: what Python does where the test is known; else
sides       both sides of a branch are recorded, `loops` and `repeat` have `for` and `while`
carrying    the body of a loop traced once; what it changes is carried from step to step
blocks      one block of code traced for itself
places      what it may change: variables, attributes, items of lists and dicts
merge       what these hold behind both sides; `partly`: on some of the ways out of them
    apart       what stays behind a call may not be one array on one side only
"""
