"""NumPy code -> Graph.

function, region    a whole function of the user's, and a body of a loop or a branch
recorder            the stack of traces, and what each records
box                 what stands for an array; `views` are the steps from its base to what it shows, `layout` how that lies in memory,
                    `rows` of one array among items, `aliases` arrays that may be one
operations          ops on plain values
sources             real arrays that may be among them
numpy               NumPy's functions on boxes
capture             what a function reads from outside, and leaves there
marks               loops report their steps
rolling             Python's loops become scans again
branches            Python's branches on traced values: both sides are recorded; `unset` is what only one of them sets
long_loops          loops of many steps are traced once; `counters` is what follows from their counters alone, `intervals` how far
                    it reaches
control, loops      `scan`, `cond`, `while_loop`, and what is made of them; `of_regions`: as ops
printing, extrema   Python's `print`, and `max`, `min`, `any` and `all`
checks              errors that are raised where a traced bool holds; `raised` keeps an exception for each call,
                    `handlers` finds what would catch it
tree                trees of arrays
users               whose code something is; `lines` the user's line
"""
