#!/usr/bin/env bash
# Runs what a document tells its readers to run, so that it stays true.
#
#   scripts/readme.sh [FILE]     (default: README.md)
#
# A block of ```sh that follows the line `<!-- ci: run -->` is run by bash from the root of the project, with `set -eu` and
# five minutes at most; lines may begin with `$ `. Blocks without that line are listed and not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
file=${1:-README.md}
limit_secs=300

[ -r "$file" ] || { echo "readme.sh: $file cannot be read" >&2; exit 1; }
scratch=$(mktemp -d "${TMPDIR:-/tmp}/palisade-readme.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# One file for each block, named by its line and by whether it is to be run.
awk -v out="$scratch" '
  block == "" && /^<!-- ci: run -->[ \t]*$/ { marked = 1; next }
  block == "" && /^```sh[ \t]*$/ { block = sprintf("%s/%06d.%s", out, NR, marked ? "run" : "list"); printf "" > block; next }
  block != "" && /^```[ \t]*$/ { close(block); block = ""; marked = 0; next }
  block != "" { sub(/^\$ /, ""); print > block; next }
  /[^ \t]/ { marked = 0 }
  END { if (block != "") { print "readme.sh: a block is not closed" > "/dev/stderr"; exit 1 } }
' "$file"

ran=0
for block in "$scratch"/*; do
  [ -e "$block" ] || break
  name=$(basename "$block")
  where=$file:$((10#${name%.*}))
  if [ "${name##*.}" = list ]; then
    echo "--- $where is not run:"
    sed 's/^/      /' "$block"
    continue
  fi
  echo "--- $where"
  sed 's/^/    $ /' "$block"
  status=0
  timeout "$limit_secs" bash -eu -o pipefail "$block" </dev/null || status=$?
  if [ "$status" -eq 124 ]; then echo "readme.sh: $where took longer than $limit_secs s" >&2; fi
  if [ "$status" -ne 0 ]; then echo "readme.sh: $where failed with status $status" >&2; exit 1; fi
  ran=$((ran + 1))
done
[ "$ran" -gt 0 ] || { echo "readme.sh: $file marks no block to be run" >&2; exit 1; }
echo "readme.sh: $ran blocks of $file ran"
