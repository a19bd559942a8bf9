"""Graph -> Graph on request: reverse and forward mode, batching.

api                 `grad`, `vjp`, `jvp`, `vmap`: functions of functions; `derivatives` and `custom` are made of them
traced_call         what a call of one is on its way through: traced, then run
reverse             a graph and cotangents of its outputs -> cotangents of its inputs
forward             a graph and tangents of its inputs -> tangents of its outputs
checkpoint          gradients that save less
batch               a graph of one -> a graph of many; `guard` makes branches safe to run where they were not chosen
"""
