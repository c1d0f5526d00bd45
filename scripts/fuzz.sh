#!/usr/bin/env bash
# Runs fuzz targets, with coverage feedback and without a sanitizer, since no decoder is unsafe.
#   scripts/fuzz.sh SECONDS [TARGET...]      all targets if none is named; runs PALISADE_FUZZ_JOBS at a time (1)
# Fails at the first finding, whose input stays in fuzz/artifacts. Works on the stable toolchain.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

secs=${1:?usage: scripts/fuzz.sh SECONDS [TARGET...]}
shift
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for file in fuzz/fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi
host=$(rustc -vV | sed -n 's/^host: //p')
target_dir=${CARGO_TARGET_DIR:-target}/fuzz
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
flags+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
flags+=" --cfg fuzzing -Cdebug-assertions -Ccodegen-units=1"
RUSTC_BOOTSTRAP=1 RUSTFLAGS=$flags cargo build --locked --release --target "$host" --target-dir "$target_dir" -p palisade-fuzz --bins

run() { # target
  local name=$1 corpus=fuzz/corpus/$1 seeds=fuzz/corpus/$1/seeds format
  mkdir -p "$corpus" "$seeds" fuzz/artifacts
  # Each line of the format's own samples is a seed; formats that are told by a record are seeded with all.
  case $name in auto | redact) format='*' ;; *) format=$name ;; esac
  awk -v dir="$seeds" '{ file = dir "/" NR; printf "%s", $0 > file; close(file) }' crates/ingest/samples/$format.*
  for file in crates/ingest/samples/$format.*; do cp "$file" "$seeds/$(basename "$file")"; done
  "$target_dir/$host/release/fuzz_$name" "$corpus" "$seeds" -max_total_time="$secs" -max_len=16384 -timeout=10 \
    -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="fuzz/artifacts/$name-" >"fuzz/artifacts/$name.log" 2>&1 || {
    tail -n 30 "fuzz/artifacts/$name.log" >&2
    echo "FOUND: $name" >&2
    return 1
  }
  printf '%-12s %s\n' "$name" "$(grep -oE '^(Done .*|stat::(number_of_executed_units|average_exec_per_sec|peak_rss_mb): *[0-9]+)' "fuzz/artifacts/$name.log" | tr -s ' ' | tr '\n' ' ')"
}
export -f run
export secs host target_dir
printf '%s\n' "${targets[@]}" | xargs -P "${PALISADE_FUZZ_JOBS:-1}" -I{} bash -c 'run {}'
