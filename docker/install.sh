#!/usr/bin/env bash
# install.sh PYTHON LOCK [TORCH]     put the packages of a lock into PYTHON's environment, with uv, hashes checked
#
# TORCH=cpu   torch's CPU build, which lies in another index than the lock's: this one package without a hash;
#             fails where that index is out of reach
# TORCH=trim  the lock's torch, which is the CUDA build, without what a CPU never loads (its linked libraries must stay)
# TORCH=trim is what `make images` does unless told otherwise: every package has its hash.
# TORCH=auto  cpu if that index can be reached, else trim
set -euo pipefail
python=$1 lock=$2 torch=${3:-}

quiet=-q
if [ -t 2 ]; then quiet=; fi # on a terminal uv shows what it fetches
install() { uv pip install $quiet --compile-bytecode -p "$python" "$@"; }
cpu_torch() { install --torch-backend=cpu "$(grep -oE '^torch==[0-9.]+' "$lock")"; }

if [ "$torch" = auto ]; then
  if UV_HTTP_TIMEOUT=15 cpu_torch 2>/dev/null; then torch=cpu; else torch=trim; fi
  echo "torch: $torch"
elif [ "$torch" = cpu ]; then
  cpu_torch
fi

if [ "$torch" = cpu ]; then
  rest=$(mktemp)
  awk '/^[^ ]/ {keep = !/^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==/} keep' "$lock" >"$rest"
  install --no-deps --require-hashes -r "$rest"
  rm "$rest"
else
  install --require-hashes -r "$lock"
fi

if [ "$torch" = trim ]; then
  cd "$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
  rm -rf triton triton-*.dist-info nvidia/cudnn/lib/libcudnn_*.so.* nvidia/cu13/lib/libnvrtc.alt.so.* nvidia/cu13/lib/libcusolverMg.so.* \
    nvidia/cu13/lib/libnvperf_*.so nvidia/cu13/include nvidia/cudnn/include torch/lib/libtorch_cuda_linalg.so torch/include
  "$python" -c 'import torch; torch.ones(2, 2) @ torch.ones(2, 2)'
fi
