"""Running compiled programs: memory, calls, signatures."""
