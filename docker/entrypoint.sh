#!/bin/sh
# Runs a command of the image without root. A container that was started as root (the testbed is, to get at the folder
# of its results) becomes the owner of that folder, and keeps of root's rights the one to raise the hub's priority.
set -eu

runs=/workspace/runs
if [ "$(id -u)" != 0 ] || ! [ -d "$runs" ]; then
    exec "$@"
fi

owner=$(stat -c %u:%g "$runs")
if [ "${owner%%:*}" = 0 ]; then
    # In a user namespace (rootless engine) this root is the user who started it all: it is the owner already.
    if ! grep -Eq '^ *0 +0 +4294967295$' /proc/self/uid_map; then
        exec "$@"
    fi
    owner=$(id -u edgebed):$(id -g edgebed) # the engine has made the folder, which was not there
    chown "$owner" "$runs"
fi

nice=
if setpriv --ambient-caps=+sys_nice --inh-caps=+sys_nice true 2>/dev/null; then
    nice='--ambient-caps=+sys_nice --inh-caps=+sys_nice'
fi
export HOME=/tmp
# shellcheck disable=SC2086  # two words, or none
exec setpriv --reuid="${owner%%:*}" --regid="${owner##*:}" --clear-groups $nice "$@"
