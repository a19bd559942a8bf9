#!/bin/sh
# On a machine with a GPU, from a checkout of irdl: installs what is missing, runs the tests that want one, and measures.
#
#   benchmarks/gpu.sh OUT_DIR [WHEELS]
#
# WHEELS: a folder with wheels of pycuda and what it needs, for machines that reach no index. OUT_DIR gets gpu.json, the logs, and
# what the model predicts with the rates that were measured.
set -eu
out=${1:?usage: $0 OUT_DIR [WHEELS]}
wheels=${2:-}
cd "$(dirname "$0")/.."
mkdir -p "$out"
environment=$(mktemp -d)
trap 'rm -rf "$environment"' EXIT
python3 -m venv --system-site-packages "$environment/venv"
. "$environment/venv/bin/activate"
if [ -n "$wheels" ]; then
    pip install --quiet --no-index --find-links "$wheels" --no-deps "$wheels"/*.whl
    pip install --quiet --no-index --no-deps --no-build-isolation -e .
else
    pip install --quiet -e ".[cuda,test]"
fi
pytest -q -m gpu tests/runtime 2>&1 | tee "$out/tests.log" | tail -n 5
python -m benchmarks gpu --rounds 3 --budget 0.5 --json "$out/gpu.json" 2>&1 | tee "$out/benchmarks.log"
python -m benchmarks gpu --model "$out/gpu.json" >"$out/model.md"
