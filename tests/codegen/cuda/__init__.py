"""CUDA C on the CPU: `cuda_on_cpu` runs kernels that g++ has built, `fake_cuda` is a driver for pycuda made of it."""
