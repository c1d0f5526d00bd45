#!/usr/bin/env bash
# Compares what three readers see in a lake; see scripts/readers.py.
#
#   scripts/readers.sh LAKE
#
# The pinned packages go into an environment of their own, made once per version of the list.
# Environment:
#   PALISADE_READERS_HOME   where that environment is kept (default: the user's cache folder)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
list="$here/readers-requirements.txt"
home=${PALISADE_READERS_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/palisade/readers}
env="$home/$(sha256sum "$list" | cut -c1-16)"

if [ ! -e "$env/ready" ]; then
    python3 -m venv "$env"
    "$env/bin/pip" install --quiet --requirement "$list"
    touch "$env/ready"
fi
exec "$env/bin/python" "$here/readers.py" "$@"
