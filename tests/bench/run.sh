#!/usr/bin/env bash
# Measures every figure of docs/performance.md beside its limit, in one run, and prints the table. Not part of the tests.
# About 16 minutes and 6 GB of disk. Load generator, cdpd and nginx share the machine.
#
#   tests/bench/run.sh [--quick] [FIGURE…]   figures: memory single batch get ack restart fold features read due enrich deliver grpc subscribe export
#   CDPD_BENCH_DIR=…                         where the data goes (default: a temporary directory under build/)
# shellcheck source=packaging/lib.sh
. "$(dirname "$0")/../../packaging/lib.sh"
cd "$ROOT"
install_packages packaging/dependencies.txt packaging/quickstart-dependencies.txt tests/bench/dependencies.txt
build build/bench -DCMAKE_BUILD_TYPE=Release -DCDPD_BENCH=ON
exec /usr/bin/python3 tests/bench/bench.py build/bench "$@"
