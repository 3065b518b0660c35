#!/usr/bin/env bash
# tests/crash/torture.sh [SECONDS]: the durability tests of tests/e2e/test_durability.py with many more rounds and kill points, over and
# over for SECONDS (default 3600). Stops at the first loss and keeps the output.
# shellcheck source=packaging/lib.sh
. "$(dirname "$0")/../../packaging/lib.sh"
cd "$ROOT"
LIMIT=${1:-3600}
install_packages packaging/dependencies.txt packaging/quickstart-dependencies.txt tests/dependencies.txt
build build/release -DCMAKE_BUILD_TYPE=Release -DCDPD_TESTS=ON
export CDPD_KILL_ROUNDS=40
round=0
while [ "$SECONDS" -lt "$LIMIT" ]; do
	round=$((round + 1))
	# Every call up to the 60th, then ever sparser: creation and start-up are dense in the first, segments and trimming in the later.
	CDPD_KILL_POINTS="$(seq -s ' ' 1 60) $(seq -s ' ' $((61 + round % 7)) 7 300)"
	export CDPD_KILL_POINTS
	quietly "round $round" /usr/bin/python3 -m pytest -q -x -p no:cacheprovider tests/e2e/test_durability.py tests/e2e/test_plugins.py -k "kill or fsync or full or export"
done
echo ok
