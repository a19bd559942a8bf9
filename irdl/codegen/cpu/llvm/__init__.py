"""Program -> LLVM IR as text, and the machine code llvmlite makes of it.

    emit                a program: its kernels are functions
    function, values    one function: its statements, and its expressions, loads and stores
    interleaved         vectors of every second to fourth element
    ir_builder          the text of a function
    arithmetic          ops as instructions, with `integer_division`, `halves` and the C library's functions (`library`)
    vector_math         exp and its kin; `vector_log`, `vector_angle`, `vector_inverse_hyperbolic` and `vector_power` have the others
    processor, machine  what code is made for, and what makes it

A program for several threads:

    team_layout, team   workers, what they wait for, and where that lies
    team_call, trust    a call that works with them, and whether it is worth it
    status              what a call reports

A call from Python:

    call_shape          what is expected of it
    python_call         the function that the interpreter calls, on top of `python_results`, `python_reads` and `python_objects`
    python_trees        many arrays by a table
"""
