#!/usr/bin/env bash
# packaging/format.sh fix|check|lint: clang-format 14 over our C and C++; lint adds clang-tidy 14 over a build's commands.
# shellcheck source=packaging/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
mapfile -t files < <(git ls-files -co --exclude-standard 'core/*.[ch]' 'core/*.cc' 'plugins/*.[ch]' 'tests/*.[ch]')
case ${1:-check} in
fix) clang-format-14 -i "${files[@]}" ;;
check) clang-format-14 --dry-run --Werror "${files[@]}" && echo ok ;;
lint)
	build build/lint -DCMAKE_BUILD_TYPE=Debug -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DCMAKE_C_COMPILER=clang-14 -DCMAKE_CXX_COMPILER=clang++-14
	printf '%s\n' "${files[@]}" | grep -E '^(core|plugins)/.*\.c$' | xargs -P "$JOBS" -n 4 clang-tidy-14 -p build/lint --quiet
	;;
*) die "usage: packaging/format.sh fix|check|lint" ;;
esac
