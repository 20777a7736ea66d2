#!/bin/sh
# A resource that refuses a late writer. Stdin becomes FILE, unless a later holder has already written it.
# usage: lokt guard NAME ... -- ... | put.sh FILE
file=$1 token=${LOKT_TOKEN:?run it under lokt guard}
# Looking and writing must be one step: so the resource has a short lock of its own, without a TTL.
exec lokt guard "put-$(basename "$file")" --wait -- sh -c '
    file=$1 token=$2
    last=$(cat "$file.token" 2>/dev/null || echo 0)
    if [ "$token" -lt "$last" ]; then
        echo "refused: token $token is older than $last" >&2
        exit 1
    fi
    echo "$token" >"$file.token" && cat >"$file.new" && mv "$file.new" "$file"
' put "$file" "$token"
