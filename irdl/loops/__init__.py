"""The loop language: what a graph becomes once it is scheduled, and what a backend prints.

language            loops over kernels over places in buffers; `expressions` has what is computed there, `index` the places
instructions        what a warp does with one instruction
text, parse         written and read; `parse_expressions` has what statements are made of
verify              what holds of every program
interpret           what a program means
walk, rewrite       ways through it, and how it is changed
dependence          which steps touch the same memory
target, cost        what is known of a machine, and what statements cost there
passes              those that any machine's programs go through
"""
