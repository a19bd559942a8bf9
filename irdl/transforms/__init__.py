"""Graph -> Graph on request: reverse and forward mode, batching."""
