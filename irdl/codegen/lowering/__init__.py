"""Graph -> Program: layouts, groups of nodes with their accesses, control, and what is done in place."""
