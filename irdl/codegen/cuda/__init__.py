"""Schedules and passes for a GPU, and CUDA C. `pipeline` lists the passes in order.

A group becomes loops, whose steps are dealt out to blocks, warps and lanes (`dealing`):

    schedule            which way is taken
    reductions          a thread for each result, or several warps (`by_warps`), or several blocks (`parts`); `accumulators` has the sums
    row_tiles           what goes along rows that are reduced
    tiling              the tiles of contractions of many results
    contraction         those tiles in registers; `operands` brings what they multiply into shared memory
    products            tiles of small matrices, which lie in the registers of warps (`fragments`)
    loop_products       of contractions in loops over time, with `matrix_tiles`
    sorting, merging    lines sorted by merges
    scattering          each place, or its first row of indices, looks for all that is for it

A program, on its way to text:

    rows                kernels that go through the same rows become one
    resident            a loop over time becomes one launch; `copies` of what stays, and `carries` from step to step, are in registers
    registers           what such passes have in common
    vectors             accesses of 16 bytes
    block_memory        where a block's shared memory holds what
    barriers            where threads wait; `meetings` says which touch the same memory
    launches            what runs at once

    emit                launches -> CUDA C, with `declarations`, `expressions`, `prelude.h`, `tensor_cores.h` and `copies.h`

    model               a prediction of the time: `work` of warps and their `accesses` to memory, at the `costs` of operations and the `rates` of machines
"""
