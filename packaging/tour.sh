#!/usr/bin/env bash
# Servers to hand people and events on to, for trying cdpd's destinations (docs/destinations.md, "Try it"): a PostgreSQL, a NATS and a receiver of
# signed webhooks, on 127.0.0.1, with all they keep in data/tour. Nothing of a server that is already installed is touched.
#
#   packaging/tour.sh start [postgres|nats|webhook]     all of them, or one
#   packaging/tour.sh kill  [postgres|nats|webhook]     with kill -9
#
#   CDPD_TOUR_POSTGRES=55432 CDPD_TOUR_NATS=54222 CDPD_TOUR_WEBHOOK=58090   their ports; NATS shows itself on its port + 4000
# shellcheck source=packaging/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
HOME_DIR=$ROOT/data/tour
POSTGRES_PORT=${CDPD_TOUR_POSTGRES:-55432}
NATS_PORT=${CDPD_TOUR_NATS:-54222}
WEBHOOK_PORT=${CDPD_TOUR_WEBHOOK:-58090}

usage() { die "usage: $0 start|kill [postgres|nats|webhook]"; }
alive() { [ -s "$HOME_DIR/$1.pid" ] && kill -0 "$(cat "$HOME_DIR/$1.pid")" 2>/dev/null; }

# background NAME COMMAND…: its output in NAME.log, its pid in NAME.pid.
background() {
	local name=$1
	shift
	setsid nohup "$@" >>"$HOME_DIR/$name.log" 2>&1 </dev/null &
	echo $! >"$HOME_DIR/$name.pid"
}

# until_up NAME COMMAND…: waits until the command says so.
until_up() {
	local name=$1
	shift
	for _ in $(seq 300); do
		"$@" >/dev/null 2>&1 && return 0
		alive "$name" || break
		sleep 0.1
	done
	cat "$HOME_DIR/$name.log" >&2
	die "$name did not start"
}

# PostgreSQL refuses to run as root: then it runs as the user of its package.
as_postgres() {
	if [ "$(id -u)" -eq 0 ]; then setpriv --reuid postgres --regid postgres --clear-groups "$@"; else "$@"; fi
}

start_postgres() {
	local bin data=$HOME_DIR/postgres
	# A checkout in root's home is closed to other users.
	as_postgres test -x "$HOME_DIR" || data=${TMPDIR:-/tmp}/cdpd-tour-postgres-$POSTGRES_PORT
	bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -n 1)
	if [ ! -s "$data/PG_VERSION" ]; then
		mkdir -p "$data"
		chmod 700 "$data"
		if [ "$(id -u)" -eq 0 ]; then chown postgres: "$data"; fi
		quietly "a PostgreSQL in data/tour" as_postgres "$bin/initdb" -D "$data" -U cdpd -E UTF8 --locale=C -A trust
	fi
	touch "$HOME_DIR/postgres.log"
	# exec: the pid that is kept is the server's own
	# shellcheck disable=SC2016
	background postgres bash -c 'id=$1; shift; [ "$id" -eq 0 ] && exec setpriv --reuid postgres --regid postgres --clear-groups "$@"; exec "$@"' - \
		"$(id -u)" "$bin/postgres" -D "$data" -k "" -c listen_addresses=127.0.0.1 -p "$POSTGRES_PORT"
	until_up postgres "$bin/psql" -X -h 127.0.0.1 -p "$POSTGRES_PORT" -U cdpd -d postgres -c "SELECT 1"
}

start_nats() {
	background nats nats-server -a 127.0.0.1 -p "$NATS_PORT" -m $((NATS_PORT + 4000)) -js -sd "$HOME_DIR/nats"
	until_up nats curl -fsS --max-time 2 "http://127.0.0.1:$((NATS_PORT + 4000))/jsz"
}

start_webhook() {
	[ -s "$HOME_DIR/webhook.secret" ] || (umask 077 && printf 'whsec_%s\n' "$(head -c 24 /dev/urandom | base64)" >"$HOME_DIR/webhook.secret")
	background webhook python3 packaging/tour_receiver.py "$WEBHOOK_PORT" "$HOME_DIR/webhook.secret" "$HOME_DIR/webhook.ndjson"
	until_up webhook curl -fsS --max-time 2 "http://127.0.0.1:$WEBHOOK_PORT/"
}

case ${2:-all} in
all) servers=(postgres nats webhook) ;;
postgres | nats | webhook) servers=("$2") ;;
*) usage ;;
esac
case ${1:-} in
start)
	install_packages packaging/tour-dependencies.txt
	mkdir -p "$HOME_DIR"
	for name in "${servers[@]}"; do alive "$name" || "start_$name"; done
	;;
kill)
	for name in "${servers[@]}"; do
		alive "$name" || continue
		kill -KILL "$(cat "$HOME_DIR/$name.pid")"
		while alive "$name"; do sleep 0.05; done
	done
	;;
*) usage ;;
esac
