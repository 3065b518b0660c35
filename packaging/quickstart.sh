#!/usr/bin/env bash
# From a fresh Debian 12 to a running cdpd with one shop's day in it. Run it again any time: it installs and builds only
# what is missing, reuses a running daemon, and the day's events are recognised as duplicates.
#
#   CDPD_PORT=8080   the port on 127.0.0.1
# shellcheck source=packaging/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
PORT=${CDPD_PORT:-8080}
URL=http://127.0.0.1:$PORT

install_packages packaging/dependencies.txt packaging/quickstart-dependencies.txt
build build -DCMAKE_BUILD_TYPE=Release

ready() { curl -fsS -o /dev/null --max-time 2 "$URL/readyz" 2>/dev/null; }

if ! ready; then
	if curl -sS -o /dev/null --max-time 2 "$URL/" 2>/dev/null; then
		die "something that is not a ready cdpd answers on $URL; stop it, or choose another port: CDPD_PORT=8090 $0"
	fi
	mkdir -p data
	setsid nohup build/cdpd -c conf/quickstart.yaml --set "listen.http=127.0.0.1:$PORT" >data/cdpd.log 2>&1 </dev/null &
	echo $! >data/cdpd.pid
	for _ in $(seq 100); do
		ready && break
		kill -0 "$(cat data/cdpd.pid)" 2>/dev/null || { cat data/cdpd.log >&2; die "cdpd did not start"; }
		sleep 0.1
	done
	ready || { cat data/cdpd.log >&2; die "cdpd is not ready after 10 s"; }
fi

python3 packaging/quickstart_day.py "$URL"

say
say "One person, as cdpd knows her now (GET /v1/profiles/user_id:anna):"
say
export CDPD_TOKEN=demo-admin-token
build/cdpctl --url "$URL" profile user_id:anna
cat <<TEXT

cdpd keeps running on $URL (log: data/cdpd.log). Look further:

  export CDPD_TOKEN=demo-admin-token
  build/cdpctl --url $URL status                          # every event accounted for
  build/cdpctl --url $URL profile user_id:anna --events   # what she did
  build/cdpctl --url $URL trace day-$(date -u -d yesterday +%F)-anna-order-1   # where one event went, and why
  curl -H 'Authorization: Bearer demo-read-token' $URL/v1/segments/mailable/members
  curl -H 'Authorization: Bearer demo-read-token' "$URL/v1/consents/check?person=user_id:anna&purpose=newsletter&channel=email"
  curl -H 'Authorization: Bearer demo-read-token' "$URL/v1/forms/fit/next?person=user_id:anna"   # what to ask her next
  build/cdpctl --url $URL unmerge user_id:anna anonymous_id:visitor-anna --dry-run   # what undoing a join would do
  build/cdpctl --url $URL tail                            # events as they are applied
  curl -u demo-write-key: -d '{"userId":"anna","event":"Hello","type":"track"}' $URL/v1/track
  curl -H 'Authorization: Bearer demo-read-token' $URL/v1/profiles/user_id:anna
  kill \$(cat data/cdpd.pid)                               # stop it
TEXT
