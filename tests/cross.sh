#!/usr/bin/env bash
# The unit tests of another architecture under qemu-user. usage: tests/cross.sh arm64|armhf   (after scripts/package of that architecture)
set -eu
cd "$(dirname "$0")/.."
build=build/package-$1
cmake --build "$build" >"$build-tests.log" 2>&1 || { grep -E 'error|FAILED' "$build-tests.log" | head -n 20; exit 1; }
cd "$build"
# emulated threads are slow: what measures time belongs to the native run
ctest -L unit -j 2 --timeout 600 --output-on-failure
