#!/bin/sh
# The command `digitd` in the container image. It runs digitd as the owner of the folder /digits.
set -eu

digitd=/opt/digitd/bin/digitd
folder=/digits

# In a rootless container, root is the person who started it, and nothing has to change.
read -r _ machine_uid _ </proc/self/uid_map
if [ "$(id -u)" = 0 ] && [ "$machine_uid" = 0 ]; then
    # The container engine creates a missing folder as root.
    if [ "$(stat -c %u "$folder")" = 0 ]; then
        uid=${DIGITD_UID:-1000}
        chown "$uid:${DIGITD_GID:-$uid}" "$folder"
    fi
    owner=$(stat -c %u "$folder")
    if [ "$owner" != 0 ]; then
        exec setpriv --reuid "$owner" --regid "$(stat -c %g "$folder")" --clear-groups \
            --inh-caps=-all --no-new-privs "$0" "$@"
    fi
fi

if [ "${1:-}" = run ] && [ ! -e "$folder/config.yaml" ]; then
    "$digitd" init "$folder" >/dev/null
fi
exec "$digitd" "$@"
