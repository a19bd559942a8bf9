"""Graph -> Program: layouts, loop nests, schedules and memory. Printing a program for a machine is in `llvm`."""
