#!/bin/sh
# Installs what `make bench` measures against, and the S3 server it measures on, once and silently afterwards:
#   $cache/benchmarks-<key>   in an environment of its own, and the link $cache/benchmarks to it
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/deltacrown-cutover
pinned=$root/ops/toolchain/benchmarks.txt
target=$cache/benchmarks-$(sha256sum <"$pinned" | cut -c1-12)

mkdir -p "$cache"
exec 9>"$cache/setup.lock"
flock 9 # two make runs at once install once
if [ ! -e "$target/.complete" ]; then
    printf 'setup: installing the programs of the benchmarks\n' >&2
    rm -rf "$target"
    "$root/.venv/bin/uv" venv -q --python "$(command -v python3)" "$target"
    "$root/.venv/bin/uv" pip install -q --compile-bytecode --python "$target/bin/python" -r "$pinned"
    touch "$target/.complete"
fi
ln -sfn "$target" "$cache/benchmarks"
