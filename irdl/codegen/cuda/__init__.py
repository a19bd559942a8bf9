"""Program -> CUDA C."""
