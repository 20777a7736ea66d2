#!/bin/sh
# At most N at once. Whoever finds no slot free ends with 75; with --wait it would stand in line.
# usage: pool.sh N NAME COMMAND...      COMMAND finds its slot in $LOKT_SLOT
slots=$1 name=$2
shift 2
exec lokt guard "$name" --slots "$slots" --conflict-exit-code 75 -- "$@"
