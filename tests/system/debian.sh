# Shared by the scripts that make Debian root file systems for `make system-test`.
# shellcheck shell=bash

give_up() {
    printf 'make system-test: %s\n' "$1" >&2
    exit 1
}

# mirror SUITE: the address of this machine's package mirror.
mirror() {
    command -v apt-get >/dev/null || give_up "no apt here: say MIRROR=<a Debian mirror> SUITE=<its suite>"
    # shellcheck disable=SC2016 # the $(…) are apt's
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
        while read -r uri release; do
            if [ "$release" = "$1" ]; then
                echo "$uri"
                break
            fi
        done
}

# make_root FOLDER PACKAGES LOG: a minimal Debian of SUITE from MIRROR.
make_root() {
    SUITE=${SUITE:-$(. /etc/os-release && echo "${VERSION_CODENAME:-}")}
    MIRROR=${MIRROR:-$(mirror "$SUITE")}
    [ -n "$MIRROR" ] || give_up "apt has no mirror of '$SUITE': say MIRROR= and SUITE="
    if command -v apt-config >/dev/null; then
        eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
        export http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}"
    fi
    rm -rf "$1"
    mkdir -p "$(dirname "$1")"
    debootstrap --variant=minbase ${2:+--include="$2"} "$SUITE" "$1" "$MIRROR" >"$3" 2>&1 ||
        give_up "debootstrap failed: see $3"
}
