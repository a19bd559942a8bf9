"""NumPy code -> Graph.

function, region    a whole function of the user's, and a body of a loop or a branch
recorder            the stack of traces, and what each records
box                 what stands for an array; `views` are the steps from its base to what it shows
operations          ops on plain values
sources             real arrays that may be among them
numpy               NumPy's functions on boxes
capture             what a function reads from outside, and leaves there
marks               loops report their steps
rolling             Python's loops become scans again
control, loops      `scan`, `cond`, `while_loop`, and what is made of them
printing, extrema   Python's `print`, `max` and `min`
checks              errors that are raised where a traced bool holds; `raised` keeps an exception for each call,
                    `handlers` finds what would catch it
tree                trees of arrays
users               whose code something is
"""
