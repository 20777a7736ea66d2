#!/bin/sh
# Runs a check once for each commit, however many ask for it. Whoever comes meanwhile waits, and takes the result.
# usage: once.sh NAME COMMAND...
key="$1-$(git rev-parse HEAD)"
shift
lokt exists "$key-passed" && exit 0
exec lokt guard "$key" --wait --timeout 30m -- sh -c '
    passed=$1; shift
    lokt exists "$passed" && exit 0
    "$@" && lokt lock "$passed" --ttl 24h --note "passed" >/dev/null
' once "$key-passed" "$@"
