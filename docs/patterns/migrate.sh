#!/bin/sh
# A migration is never to be overtaken, however long it hangs: so no --ttl. Its lock is free when it has ended, or
# when somebody who knows that it is safe says `lokt unlock db-migrate --force`, which ends it first.
exec lokt guard db-migrate --note "by $(id -un), in $PWD" -- ./do-migrate.sh "$@"
