#!/bin/sh
# Several steps of one script under one lock. It is tied to this shell: if the shell is killed, the lock is free.
set -eu
lokt lock release --pid $$ --note 'tag, then publish' >/dev/null
# Set only when the lock is ours: what fails to take it must not release another's.
trap 'lokt unlock release >/dev/null' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

./tag.sh
./publish.sh
