"""Compiled functions as object files with a C header, for this machine and others."""
