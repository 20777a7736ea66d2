#!/bin/sh
# As many workers as you like share the shards of one test run. Each shard is run once, by whoever finds it free.
# usage: shards.sh RUN COUNT COMMAND...      COMMAND finds its number in $SHARD
run=$1 count=$2 failed=0 busy=0
shift 2
SHARD=1
export SHARD
while [ "$SHARD" -le "$count" ]; do
    # Whether a shard is done is asked under its lock: then nobody else can be at it.
    lokt guard "shard-$run-$SHARD" --conflict-exit-code 75 -- sh -c '
        mark=$1; shift
        lokt exists "$mark" && exit 0
        "$@" && lokt lock "$mark" --ttl 12h >/dev/null
    ' shard "done-$run-$SHARD" "$@"
    case $? in
    0) ;;
    75) busy=$((busy + 1)) ;;
    *) failed=$((failed + 1)) ;;
    esac
    SHARD=$((SHARD + 1))
done
echo "$failed of $count shards failed here; others are at $busy"
[ "$failed" -eq 0 ]
