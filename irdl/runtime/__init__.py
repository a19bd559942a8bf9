"""From a graph to a call: backends, memory, signatures.

    jit                 `jit`, `compile` and `trace`: a version for each signature
    call                a call taken apart; `overlaps`: what of it may be written to
    compiled            one version: captured state, and what the call leaves behind
    expected, entry     what the native entry expects, and its table of addresses
    executable          flat arrays in and out
    build               from graph to machine code, step by step

    backend, backends   what a backend is, and those there are: `cpu`, `interpreted`, `cuda`
    disk_cache          machine code kept from process to process
    threads, team       how many there are, and what they share
    signals             Ctrl-C during a long call

Of a GPU:

    device              its memory and streams
    device_array        arrays that stay there; `foreign` and `dlpack`: those that other libraries have too
    cubin               CUDA C -> machine code, by `nvcc` or `nvrtc`
    launching           launches, one by one or as a graph
"""
