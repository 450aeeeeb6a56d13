#!/usr/bin/env bash
# Compiles every sync/*.cpp for wasm32, where there are no threads, files or streams: what stands in sync/ must not
# need them. Objects only; nothing is linked. Packages: clang-19 libc++-19-dev-wasm32 wasi-libc (see tests/run.sh).
set -u
cd "$(dirname "$0")/../.." || exit 1
out=build/wasm
mkdir -p "$out/include"

# Only these headers of the host: all of /usr/include would bring glibc's in front of wasi-libc's.
for header in sodium.h sodium cereal zstd.h zstd_errors.h zdict.h; do
  [ -e "/usr/include/$header" ] && ln -sfn "/usr/include/$header" "$out/include/$header"
done

flags="--target=wasm32-wasi -std=c++20 -Os -fwasm-exceptions -mbulk-memory -msign-ext -mnontrapping-fptoint
  -Wall -Wextra -Werror -I. -isystem $out/include"
compiler=clang++-19
command -v ccache >/dev/null 2>&1 && compiler="ccache clang++-19"
export flags compiler out

# xargs fails if any of them did.
find sync -name '*.cpp' | sort | xargs -P "$(nproc)" -I{} sh -c '
  $compiler $flags -c "$1" -o "$out/$(basename "$1").o" || { echo "$1 does not compile for wasm32"; exit 1; }' sh {}
