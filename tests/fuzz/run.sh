#!/usr/bin/env bash
# tests/fuzz/run.sh [SECONDS] [TARGET…]: every fuzz target for SECONDS each (default 600) over its seeds, with ASan and UBSan.
# A crash is kept in build/fuzz/crashes/ and fails the run.
# shellcheck source=packaging/lib.sh
. "$(dirname "$0")/../../packaging/lib.sh"
cd "$ROOT"
SECONDS_EACH=${1:-600}
shift || true
quietly "configuring fuzz" cmake -S "$ROOT" -B build/fuzz -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCDPD_FUZZ=ON -DCDPD_SANITIZE=address -DCMAKE_C_COMPILER=clang-14 -DCMAKE_CXX_COMPILER=clang++-14
quietly "building fuzz" cmake --build build/fuzz -j "$JOBS" --target fuzz_targets
mkdir -p build/fuzz/crashes
for source in tests/fuzz/fuzz_*.c; do
	name=$(basename "$source" .c)
	if [ $# -gt 0 ] && [[ " $* " != *" ${name#fuzz_} "* ]]; then continue; fi
	work=build/fuzz/corpus/${name#fuzz_}
	mkdir -p "$work"
	quietly "$name for $SECONDS_EACH s" "build/fuzz/fuzz/$name" -max_total_time="$SECONDS_EACH" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
		-artifact_prefix="build/fuzz/crashes/$name-" "$work" "tests/fuzz/corpus/${name#fuzz_}"
done
echo ok
