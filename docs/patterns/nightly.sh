#!/bin/sh
# For cron: if the last run is still at it, this one is left out, without a word and without a mail.
# Cron starts in the home directory, outside of any repository: so it says where the locks are.
LOKT_ROOT=${LOKT_ROOT:-$HOME/.lokt}
export LOKT_ROOT
lokt exists nightly && exit 0
# Between that question and this line somebody may start: then the guard says so, and ends with 0 as well.
exec lokt guard nightly --ttl 15m --conflict-exit-code 0 -- ./nightly-job.sh "$@"
