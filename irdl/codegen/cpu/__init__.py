"""Schedules and passes for a CPU; `llvm` prints its programs."""
