#!/bin/sh
# One deploy at a time, in the order in which they were asked for. Those who wait can see which commit goes out.
exec lokt guard deploy --ttl 10m --wait --timeout 30m \
    --note "deploys $(git describe --always --dirty)" -- ./do-deploy.sh "$@"
