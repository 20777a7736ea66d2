#!/bin/sh
# One dev server in all worktrees of a repository: they share the locks, as they share the port.
exec lokt guard dev-server --note "in $PWD" -- "$@"
