"""Program -> LLVM IR as text, and the machine code llvmlite makes of it."""
