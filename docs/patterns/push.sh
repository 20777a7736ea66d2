#!/bin/sh
# Rebases and pushes, one at a time, so that nobody's push is rejected because somebody else was quicker.
# usage: push.sh [REMOTE [BRANCH]]
exec lokt guard git-push --ttl 2m --wait --timeout 10m -- sh -c '
    git pull --quiet --rebase "$1" "$2" && git push --quiet "$1" "HEAD:$2"
' push "${1:-origin}" "${2:-main}"
