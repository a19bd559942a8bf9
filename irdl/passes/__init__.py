"""Graph -> Graph on the way down. `pipeline` lists the passes in order."""
