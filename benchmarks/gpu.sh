#!/bin/sh
# On a machine with a GPU, from a checkout of irdl: installs what is missing, runs the tests that want one, and measures.
#
#   benchmarks/gpu.sh OUT_DIR [WHEELS]
#
# WHEELS: a folder with wheels of pycuda, optree and what else that machine's Python lacks, for machines that reach no index.
# OUT_DIR gets the logs, gpu.json after each row, and what the model predicts with the rates that were measured. Nothing that fails
# keeps the rest from being done, and nothing takes longer than the seconds of TESTS (100) and ROWS (380).
set -u
out=${1:?usage: $0 OUT_DIR [WHEELS]}
wheels=${2:-}
mkdir -p "$out" || exit
out=$(cd "$out" && pwd)
[ -z "$wheels" ] || wheels=$(cd "$wheels" && pwd) || exit
cd "$(dirname "$0")/.." || exit
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
# Packages go to a folder of their own, in front of those of the Python that is there: a virtual environment made from one sees none of
# its packages.
if [ -n "$wheels" ]; then
    python3 -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$wheels"/*.whl || exit
else
    python3 -m pip install --quiet --target "$site" ".[cuda,test]" || exit
fi
export PYTHONPATH="$PWD:$site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 PYTHONFAULTHANDLER=1
{
    nvidia-smi
    command -v nvcc /usr/local/cuda/bin/nvcc
    python3 -c 'import sys, numpy, llvmlite, optree, irdl; print(sys.version, numpy.__version__, llvmlite.__version__, optree.__version__)'
    python3 -c 'from irdl.runtime.device import find_device as d; print(d().gpu)'
} 2>&1 | tee "$out/machine.log"
# The first call of all: what fails here fails everywhere.
timeout -k 5 60 python3 -X faulthandler - 2>&1 <<'PYTHON' | tee "$out/first.log"
import numpy as np, irdl
x, w = np.ones((64, 32), np.float32), np.full((32, 32), 0.01, np.float32)
step = lambda h, x: (lambda h: (h, h))(np.tanh(x + h @ w))
for name, f in {"map": lambda x: x * 2, "rows": lambda x: np.exp(x - x.max(1, keepdims=True)).sum(1), "product": lambda x: x @ w,
                "loop": lambda x: irdl.scan(step, x[:8], x.reshape(8, 8, 32))[1],
                "halves": lambda x: np.tile(x, (4, 8)).astype(np.float16) @ np.tile(w, (8, 8)).astype(np.float16),
                "table": irdl.grad(lambda x: (x[np.arange(999) % 60] ** 2).sum())}.items():
    print(name, float(np.abs(irdl.jit(f, backend="cuda")(x) - irdl.jit(f)(x)).max()), flush=True)
PYTHON
has() { python3 -c "import $1" 2>/dev/null; }
set -- -o addopts= -v -p no:cacheprovider --continue-on-collection-errors -m gpu
if has xdist; then set -- "$@" -n 8; fi
if has pytest_timeout; then set -- "$@" --timeout 45 --timeout-method thread; fi
timeout -k 5 "${TESTS:-100}" python3 -m pytest "$@" tests/runtime 2>&1 | tee "$out/tests.log" | tail -n 15
# What says most comes first.
rows="d2l,layer-norm 32x256,long-768,matmul-1024,softmax,multiply-add,batch,gru 32x256,ptb-small,wide-1024,long-512,random-b 32x256"
rows="$rows,long-768-f16,batch-f16,wide-1024-f16,matmul-4096-f16,d2l-f16,matmul-4096,column-sums,stream-256,matmul-1024-f16"
timeout -k 5 "${ROWS:-380}" python3 -m benchmarks gpu --rows "$rows" --rounds 3 --budget 0.2 --json "$out/gpu.json" 2>&1 |
    tee "$out/benchmarks.log"
timeout -k 5 100 python3 -m benchmarks gpu --model "$out/gpu.json" >"$out/model.md"
