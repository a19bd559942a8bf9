"""Schedules and passes for a CPU. `pipeline` lists the passes in order.

Before groups are formed, of contractions:

    taps                those that meet nothing but padding are left out
    edges               or the padding is not made; `following` does what follows a contraction part by part
    order               axes are walked as the rows' elements lie
    parts               long sums are cut

and behind that:

    pack                operands lie as kernels read them

A group becomes loops:

    schedule            which axis is the vector
    tile                how large a tile is
    tiled               the vector lies along the result
    inner, across       along what is summed, or reduced
    panels              few rows and a large matrix
    over, sorting       elements that are moved, and lines that are sorted side by side; `ranks`: a short line alone

A program, on its way to what `llvm` prints:

    merge               kernels that walk the same rows become one
    carries             short steps keep what they pass on in registers
    alternate           loops are walked there and back
    streams             several vectors at a time
"""
