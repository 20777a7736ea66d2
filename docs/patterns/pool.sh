#!/bin/sh
# At most N at once: a lock for each place. Whoever finds none free ends with 75.
# usage: pool.sh N NAME COMMAND...
places=$1 name=$2 place=1
shift 2
while [ "$place" -le "$places" ]; do
    lokt guard "$name-$place" --conflict-exit-code 75 -- "$@" && exit 0
    code=$?
    [ "$code" -eq 75 ] || exit "$code"
    place=$((place + 1))
done
exit 75
