"""What a program is at first: a graph of values, with its text, its meaning and its verifier.

dtypes, types       what a value is
op                  what an op declares, and the registry of them
graph               values, nodes, graphs
builder             how graphs are made: constants folded, equal nodes shared
verify              what holds of every graph
printer             graph -> text
tokens, parser      text -> graph
evaluate            what a graph means, in NumPy
"""
