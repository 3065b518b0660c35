#!/usr/bin/env bash
# Installs what the tests need, builds, runs every quick test, ends with "N passed, N failed, N skipped".
# On a fresh Debian 12 as root or a sudoer; nothing needs to be done before.
#
#   tests/run.sh              everything CI runs
#   tests/run.sh unit e2e …   only those suites: format unit tsan e2e fuzz
# Long tests have their own scripts: tests/crash/torture.sh, tests/fuzz/run.sh, tests/bench/run.sh.
# shellcheck source=packaging/lib.sh
. "$(dirname "$0")/../packaging/lib.sh"
cd "$ROOT"
SUITES=${*:-format unit tsan e2e fuzz}
RESULTS=build/results
rm -rf "$RESULTS"
mkdir -p "$RESULTS"
FAILED=()

install_packages packaging/dependencies.txt packaging/quickstart-dependencies.txt tests/dependencies.txt

has_suite() { [[ " $SUITES " == *" $1 "* ]]; }

# run_suite NAME COMMAND…: its output goes to a file, shown whole when it fails.
run_suite() {
	local name=$1 start=$SECONDS
	shift
	printf '%-8s ' "$name"
	if "$@" >"$RESULTS/$name.log" 2>&1 </dev/null; then
		printf 'passed in %d s\n' $((SECONDS - start))
	else
		printf 'FAILED after %d s\n' $((SECONDS - start))
		tail -n 150 "$RESULTS/$name.log"
		FAILED+=("$name")
	fi
}

ctest_in() { # DIR RESULT [ctest arguments…]
	local dir=$1 result=$2
	shift 2
	ctest --test-dir "$dir" --output-on-failure --output-junit "$ROOT/$RESULTS/$result.xml" -j "$JOBS" "$@"
}

install_clients() {
	local major=0
	command -v node >/dev/null && major=$(node -p 'process.versions.node.split(".")[0]')
	if [ "$major" -lt 18 ] || ! command -v npm >/dev/null; then
		printf 'nodejs\nnpm\n' >build/node-packages.txt
		install_packages build/node-packages.txt
	fi
	[ tests/clients/node_modules/.stamp -nt tests/clients/package.json ] && return 0
	quietly "client SDKs and databases" npm --prefix tests/clients install --no-package-lock --omit=optional --ignore-scripts --no-audit --no-fund
	touch tests/clients/node_modules/.stamp
}

if has_suite format; then
	run_suite format packaging/format.sh check
fi
if has_suite unit || has_suite e2e; then
	build build/asan -DCMAKE_BUILD_TYPE=Debug -DCDPD_SANITIZE=address -DCDPD_TESTS=ON
fi
if has_suite unit || has_suite e2e; then
	install_clients # SDKs, and databases that plugins are tested with
fi
if has_suite unit; then
	run_suite unit ctest_in build/asan unit
fi
if has_suite tsan; then
	build build/tsan -DCMAKE_BUILD_TYPE=Debug -DCDPD_SANITIZE=thread -DCDPD_TESTS=ON
	run_suite tsan ctest_in build/tsan tsan -L threads
fi
if has_suite e2e; then
	build build/release -DCMAKE_BUILD_TYPE=Release -DCDPD_TESTS=ON
	# Each test has a daemon, a folder and ports of its own, and mostly waits for them: two of them share a core well.
	run_suite e2e /usr/bin/python3 -m pytest -q -p no:cacheprovider -n "$JOBS" --dist loadfile tests/e2e tests/unit --junitxml="$RESULTS/e2e.xml"
fi
if has_suite fuzz; then
	run_suite fuzz tests/fuzz/run.sh quick
fi

/usr/bin/python3 tests/summary.py "$RESULTS"
[ ${#FAILED[@]} -eq 0 ]
