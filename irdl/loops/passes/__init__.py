"""Program -> program, whatever the machine.

memory              buffers that are alive at the same time lie apart
parallel            kernels are divided among threads
barriers            where threads wait for each other
"""
