#!/bin/sh
# Builds wheels of pycuda and what it needs where there are CUDA's headers and no driver, which its own build wants to link to.
#
#   build_pycuda_wheels.sh OUT_DIR
#
# Install them with: pip install --no-index --find-links OUT_DIR pycuda
# Environment: PYTHON     the interpreter that it is for (python3)
#              CUDA_HOME  the toolkit with include/cuda.h (/usr/local/cuda)
set -eu

: "${PYTHON:=python3}" "${CUDA_HOME:=/usr/local/cuda}"
test -f "$CUDA_HOME/include/cuda.h" || { echo "no cuda.h under $CUDA_HOME" >&2; exit 1; }
mkdir -p "${1:?usage: $0 OUT_DIR}"
out=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A stand-in for the driver's library: it needs only the right name, as a shared object may leave symbols undefined.
gcc -shared -Wl,-soname,libcuda.so.1 -o "$work/libcuda.so" -x c /dev/null

# pycuda's setup.py reads its options from this file in $HOME. cuRAND is left out: few toolkits have it, and nothing here uses it.
cat > "$work/.aksetup-defaults.py" <<CONF
CUDA_ROOT = "$CUDA_HOME"
CUDADRV_LIB_DIR = ["$work"]
CUDA_ENABLE_CURAND = False
CXXFLAGS = ["-w", "-g0", "-O1"]
CONF

export XDG_CONFIG_HOME="${XDG_CONFIG_HOME:-$HOME/.config}" # pip's own settings
export XDG_CACHE_HOME="${XDG_CACHE_HOME:-$HOME/.cache}"    # stay where they were
export LDFLAGS="-Wl,--no-as-needed" # or the linker drops the empty stand-in
HOME=$work "$PYTHON" -m pip wheel --quiet --wheel-dir "$out" pycuda
