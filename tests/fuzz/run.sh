#!/usr/bin/env bash
# tests/fuzz/run.sh [SECONDS|quick] [TARGET…]: every fuzz target for SECONDS each (default 600) over its seeds, with ASan and UBSan.
# `quick` is for every change: the same inputs each time, so that it fails because of the change and not of luck.
# A crash is kept in build/fuzz/crashes/ and fails the run.
# shellcheck source=packaging/lib.sh
. "$(dirname "$0")/../../packaging/lib.sh"
cd "$ROOT"
EFFORT=${1:-600}
shift || true
LIMITS=(-max_total_time="$EFFORT")
[ "$EFFORT" = quick ] && LIMITS=(-seed=1 -runs=20000 -max_total_time=30)
quietly "configuring fuzz" cmake -S "$ROOT" -B build/fuzz -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCDPD_FUZZ=ON -DCDPD_SANITIZE=address -DCMAKE_C_COMPILER=clang-14 -DCMAKE_CXX_COMPILER=clang++-14
quietly "building fuzz" cmake --build build/fuzz -j "$JOBS" --target fuzz_targets
mkdir -p build/fuzz/crashes
for source in tests/fuzz/fuzz_*.c; do
	name=$(basename "$source" .c)
	if [ $# -gt 0 ] && [[ " $* " != *" ${name#fuzz_} "* ]]; then continue; fi
	work=build/fuzz/corpus/${name#fuzz_}
	[ "$EFFORT" = quick ] && work=$(mktemp -d) # what longer runs have found is not in every checkout
	mkdir -p "$work"
	quietly "$name ($EFFORT)" "build/fuzz/fuzz/$name" "${LIMITS[@]}" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
		-artifact_prefix="build/fuzz/crashes/$name-" "$work" "tests/fuzz/corpus/${name#fuzz_}"
	if [ "$EFFORT" = quick ]; then rm -rf "$work"; fi
done
echo ok
