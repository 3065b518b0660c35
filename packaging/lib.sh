# Shared by packaging/*.sh and tests/*.sh: source it. Sets ROOT, defines say, die, install_packages, build.
# shellcheck shell=bash
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
JOBS=$(nproc 2>/dev/null || echo 2)

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# quietly WHAT COMMAND…: one line when fine; the command's whole output and its name when not.
quietly() {
	local what=$1 log
	shift
	log=$(mktemp)
	printf '%s … ' "$what"
	if "$@" >"$log" 2>&1 </dev/null; then
		printf 'done\n'
		rm -f "$log"
	else
		local rc=$?
		printf 'FAILED\n' >&2
		cat "$log" >&2
		rm -f "$log"
		printf 'error: %s failed (exit %d): %s\n' "$what" "$rc" "$*" >&2
		return "$rc"
	fi
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then "$@"
	elif command -v sudo >/dev/null; then sudo -n "$@" || die "needs root for: $* (run as root, or allow sudo without a password)"
	else die "needs root for: $* (run as root or install sudo)"
	fi
}

# install_packages FILE…: the Debian packages named in the files that are not there yet.
install_packages() {
	command -v apt-get >/dev/null || die "this script installs Debian packages; on other systems install what $* names, then run cmake"
	local missing=() name
	while read -r name; do
		dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
	done < <(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$@")
	[ ${#missing[@]} -eq 0 ] && return 0
	quietly "package lists" as_root apt-get update
	quietly "installing ${#missing[@]} packages" as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

# build DIR [cmake options…]: configures and builds; silent about what is already built.
build() {
	local dir=$1
	shift
	quietly "configuring $(basename "$dir")" cmake -S "$ROOT" -B "$dir" -G Ninja "$@"
	quietly "building $(basename "$dir")" cmake --build "$dir" -j "$JOBS"
}
