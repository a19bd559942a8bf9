"""Rolling: a loop that was traced as many copies of its body becomes one scan again.

    for t in range(T): h = tanh(x[t] @ W + h @ U)   recorded as T times two dots, an add, a tanh
 -> scan(carry h, xs x): h = tanh(x @ W + h @ U)

It works on the raw record of one trace (every node in the order recorded) and on the marks that its loops left (`irdl.tracing.marks`),
before any gradient is taken and any rule applied. In the order of its course:

    record    the nodes as a tree of loops, and what has become of each value
    opening   what differs by steps is taken out of conds and inner loops
    stores    reads of a buffer find what was stored there
    hidden    stores that later ones cover are left out
    roll      the loops from the inside out
    repeats   loops without marks: what repeats in a sequence
    align     the steps of a loop side by side; those that differ stay outside
    family    what each operand is over all steps: invariant, carried, a sequence of outside values
    build     the scan
    moving    slices and stores at places that change from step to step
    stacks    a sequence of values as one array
    collapse  stores and concatenations of what is stacked become one
    cost      what pays

Every operand of every step is checked, so what comes out is equal by construction; the tests prove it a second way.
"""
