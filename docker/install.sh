#!/usr/bin/env bash
# install.sh PYTHON LOCK [TORCH]     put the packages of a lock into PYTHON's environment, with uv, hashes checked
#
# TORCH=cpu   torch's CPU build, which lies in another index than the lock's: this one package without a hash;
#             fails where that index is out of reach
# TORCH=trim  the lock's torch, which is the CUDA build, without what a CPU never loads (its linked libraries must stay)
set -euo pipefail
python=$1 lock=$2 torch=${3:-}

install() { uv pip install -q --compile-bytecode -p "$python" "$@"; }

if [ "$torch" = cpu ]; then
  rest=$(mktemp)
  awk '/^[^ ]/ {keep = !/^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==/} keep' "$lock" >"$rest"
  install --torch-backend=cpu "$(grep -oE '^torch==[0-9.]+' "$lock")"
  install --no-deps --require-hashes -r "$rest"
  rm "$rest"
else
  install --require-hashes -r "$lock"
fi

if [ "$torch" = trim ]; then
  packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  cd "$packages"
  rm -rf triton triton-*.dist-info nvidia/cudnn/lib/libcudnn_*.so.* nvidia/cu13/lib/libnvrtc.alt.so.* nvidia/cu13/lib/libcusolverMg.so.* \
    nvidia/cu13/lib/libnvperf_*.so nvidia/cu13/include nvidia/cudnn/include torch/lib/libtorch_cuda_linalg.so torch/include
  "$python" -c 'import torch; torch.ones(2, 2) @ torch.ones(2, 2)'
fi
