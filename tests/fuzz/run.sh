#!/usr/bin/env bash
# Fuzzes every target with libFuzzer for a while, from its corpus; new finds stay in build/fuzz/corpus. usage: tests/fuzz/run.sh [seconds per target]
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}
cmake --preset fuzz >/dev/null && cmake --build --preset fuzz >/dev/null
for target in build/fuzz/tests/fuzz_*; do
  name=$(basename "$target" | sed 's/^fuzz_//')
  mkdir -p "build/fuzz/corpus/$name"
  echo "== $name"
  "$target" -max_total_time="$seconds" -rss_limit_mb=2048 -print_final_stats=1 "build/fuzz/corpus/$name" "tests/fuzz/corpus/$name" 2>&1 | tail -n 12
done
