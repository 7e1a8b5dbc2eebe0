#!/usr/bin/env bash
# Makes what a release publishes, with `make artefacts`, for tests/system/test_container.py, in the
# given folder:
#   dist/      the wheel, the image of Containerfile and the notes
#   storage/   podman's images: digitd, and a debian:bookworm-slim made of Debian's packages
#   *.conf     podman's settings; `env` has the variables that name them, `build.env` those for
#              building images
#   skipped    why this machine cannot run containers, if it cannot
# Needs root, debootstrap, podman and runc. The packages come from this machine's mirrors: its pip
# and apt settings are mounted during the build, and no file of the image has them.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/system/debian.sh

mkdir -p "$1"
cache=$(realpath "$1")
pip="${PIP:-.venv/bin/python -m pip} --disable-pip-version-check"
base=docker.io/library/debian:bookworm-slim
rm -f "$cache/skipped"

skip() {
    echo "make system-test: no containers: $1" | tee "$cache/skipped"
    exit 0
}

for tool in podman debootstrap; do
    command -v "$tool" >/dev/null || skip "$tool is missing: apt-get install podman runc debootstrap"
done

# crun, Debian's default, refuses a machine with both versions of cgroups.
runtime=crun
if [ "$(stat --file-system --format %T /sys/fs/cgroup)" != cgroup2fs ]; then
    runtime=runc
fi
command -v $runtime >/dev/null || skip "$runtime is missing: apt-get install $runtime"
cat >"$cache/containers.conf" <<END
[containers]
# podman's own are higher, which a machine without CAP_SYS_RESOURCE refuses.
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
[engine]
runtime = "$runtime"
END
cat >"$cache/storage.conf" <<END
[storage]
driver = "overlay"
graphroot = "$cache/storage"
runroot = "/run/digitd-system-test"
END
{
    echo "CONTAINERS_CONF=$cache/containers.conf"
    echo "CONTAINERS_STORAGE_CONF=$cache/storage.conf"
    # podman runs health checks with systemd's timers. The tests run each by hand.
    echo "DISABLE_HC_SYSTEMD=true"
} >"$cache/env"
set -a
. "$cache/env"
set +a

if ! podman image exists $base; then
    echo "Making $base from Debian's packages (a minute, once)"
    SUITE=bookworm make_root "$cache/base" "" "$cache/debootstrap.log"
    # What the official image leaves out, and how it keeps it out.
    printf 'path-exclude /usr/share/%s/*\n' doc man locale >"$cache/base/etc/dpkg/dpkg.cfg.d/docker"
    rm -rf "$cache"/base/usr/share/{doc,man,locale,info}/* "$cache"/base/var/{cache/apt,lib/apt/lists}/*
    mkdir -p "$cache/base/usr/share/man/man1"
    tar --directory "$cache/base" --one-file-system --create . | podman import --quiet - $base
    rm -rf --one-file-system "$cache/base"
fi
podman run --rm --network=none $base true 2>"$cache/run.log" ||
    skip "podman cannot run one here: $(tail -1 "$cache/run.log")"

# The settings of this machine's pip and apt, with the certificate at a path of its own: the image
# installs ca-certificates.
setting() {
    $pip config list | sed -n "s/^[^=]*\.$1='\(.*\)'\$/\1/p" | head -1
}
certificate=$(setting cert)
index=$(setting index-url)
printf '[global]\n' >"$cache/pip.conf"
volumes="\"$cache/pip.conf:/etc/pip.conf:ro\", \"/etc/apt/apt.conf.d:/etc/apt/apt.conf.d:ro\""
if [ -n "$certificate" ]; then
    echo 'cert = /run/pip.crt' >>"$cache/pip.conf"
    volumes+=", \"$certificate:/run/pip.crt:ro\""
fi
if [ -n "$index" ]; then
    echo "index-url = $index" >>"$cache/pip.conf"
fi
sed "/^\[containers\]/a volumes = [$volumes]\nnetns = \"host\"" "$cache/containers.conf" >"$cache/build.conf"
sed "s/containers.conf/build.conf/" "$cache/env" >"$cache/build.env"
export CONTAINERS_CONF=$cache/build.conf
echo "Building what a release publishes (three minutes, less if the image was built before)"
make artefacts DIST="$cache/dist" >"$cache/build.log" 2>&1 ||
    give_up "the image could not be built: see $cache/build.log"

[ -x "$cache/compose/bin/podman-compose" ] || {
    .venv/bin/python -m venv "$cache/compose"
    "$cache/compose/bin/python" -m pip --disable-pip-version-check install --quiet podman-compose==1.6.0
}
