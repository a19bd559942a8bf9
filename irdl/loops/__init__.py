"""The loop language: what a graph becomes once it is scheduled, and what a backend prints."""
