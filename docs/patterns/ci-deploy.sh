#!/bin/sh
# A CI job on a machine that runs several. `skip`: if somebody deploys, this job has nothing to do, and passes.
# `wait`: it waits for its turn, and fails if that does not come within twenty minutes.
# usage: ci-deploy.sh skip|wait
case $1 in
skip)
    # A code of its own for "held", so that it can't be mistaken for one of the command.
    lokt guard deploy --ttl 10m --conflict-exit-code 75 -- ./do-deploy.sh
    code=$?
    if [ "$code" -eq 75 ]; then
        echo "skipped: somebody is deploying"
        exit 0
    fi
    exit "$code"
    ;;
wait)
    exec lokt guard deploy --ttl 10m --wait --timeout 20m -- ./do-deploy.sh
    ;;
*)
    echo "usage: ci-deploy.sh skip|wait" >&2
    exit 64
    ;;
esac
