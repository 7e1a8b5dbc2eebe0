#!/usr/bin/env bash
# Prepares the system that `make system-test` boots, in the given folder:
#   root/    a small Debian with systemd, and digitd's dependencies in /opt/digitd; built once and
#            again when its packages or requirements.lock change
#   wheels/  the build backend, and the packages of the extra `cluster`; downloaded each time
# Needs root, debootstrap and systemd-nspawn. Uses the package mirror of this machine's apt (or
# MIRROR= and SUITE=) and this machine's pip configuration. The container needs no network.
set -euo pipefail
cd "$(dirname "$0")/../.."

cache=$1
root=$cache/root
pip="${PIP:-.venv/bin/python -m pip} --disable-pip-version-check --quiet"

. tests/system/debian.sh

[ "$(id -u)" = 0 ] || give_up "needs root: it boots a container"
for tool in debootstrap systemd-nspawn setpriv nsenter mkfs.xfs mkfs.btrfs; do
    command -v "$tool" >/dev/null ||
        give_up "$tool is missing: apt-get install debootstrap systemd-container util-linux xfsprogs btrfs-progs"
done

packages=systemd,systemd-sysv,dbus,logrotate,openssl,python3-venv,rsync
if [ "$(cat "$root/.made" 2>/dev/null)" != "$packages" ]; then
    mkdir -p "$cache"
    echo "Making a Debian root file system in $root (some minutes, once)"
    make_root "$root" "$packages" "$cache/debootstrap.log"
    echo "$packages" >"$root/.made"
fi

version=$(chroot "$root" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')

if ! cmp -s requirements.lock "$root/opt/digitd/requirements.lock"; then
    echo "Installing requirements.lock into $root/opt/digitd (a minute, once)"
    rm -rf "$root/opt/digitd" "$root/locked"
    # shellcheck disable=SC2086 # several words
    $pip download --require-hashes --only-binary=:all: --python-version "$version" \
        --dest "$root/locked" -r requirements.lock
    cp requirements.lock "$root/locked/"
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" sh -ec '
        python3 -m venv /opt/digitd
        /opt/digitd/bin/pip install --quiet --no-index --find-links /locked \
            --require-hashes -r /locked/requirements.lock
        mv /locked/requirements.lock /opt/digitd/
        rm -r /locked'
fi

rm -rf "$cache/wheels"
# shellcheck disable=SC2086
$pip download --quiet --dest "$cache/wheels" $(sed -n 's/^ *"\(hatch[^"]*\)".*/\1/p' pyproject.toml)
# The versions that `make test` uses. As constraints they must have no hashes.
sed 's/ *\\$//; /--hash/d' requirements-dev.lock >"$cache/versions"
# shellcheck disable=SC2086
$pip download --only-binary=:all: --python-version "$version" --dest "$cache/wheels" \
    -c "$cache/versions" "$(sed -n 's/^ *"\(distributed[^"]*\)".*/\1/p' pyproject.toml)"
