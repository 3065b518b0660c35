#!/usr/bin/env bash
# The worked example of docs/ml.md in one command: a shop's weeks go in, a training set comes out, a model is trained on it, cdpd loads it, and scores
# stand with the people: a segment asks for them. Everything below data/ml, on 127.0.0.1; stops the daemon at the end.
#
#   CDPD_PORT=8085   the port
#   CDPD_KEEP=1      leave the daemon running
#   CDPD_BUILD=DIR   use what is built there, install and build nothing
#   CDPD_FOLDER=DIR  work there: it has a folder conf like the tree's
# shellcheck source=packaging/lib.sh
. "$(dirname "$0")/lib.sh"
PORT=${CDPD_PORT:-8085}
URL=http://127.0.0.1:$PORT
BUILD=${CDPD_BUILD:-$ROOT/build}
cd "${CDPD_FOLDER:-$ROOT}"

if [ -z "${CDPD_BUILD:-}" ]; then
	install_packages "$ROOT/packaging/dependencies.txt" "$ROOT/packaging/quickstart-dependencies.txt"
	build "$BUILD" -DCMAKE_BUILD_TYPE=Release
fi

ctl() { "$BUILD/cdpctl" --url "$URL" --token demo-admin-token "$@"; }
api() { curl -fsS --max-time 30 -H 'Authorization: Bearer demo-admin-token' "$URL$1"; }
# field NAME…: a member of the JSON on standard input.
field() {
	python3 -c 'import json, sys
value = json.load(sys.stdin)
for name in sys.argv[1:]: value = value[int(name) if isinstance(value, list) else name]
print(value)' "$@"
}
# until_is WHAT COMMAND…: waits until the command says so, ten minutes at most.
until_is() {
	local what=$1
	shift
	for _ in $(seq 3000); do
		"$@" && return 0
		kill -0 "$DAEMON" 2>/dev/null || { tail -n 20 data/ml/cdpd.log >&2; die "cdpd ended"; }
		sleep 0.2
	done
	tail -n 20 data/ml/cdpd.log >&2
	die "$what: it takes too long"
}

say "1. a daemon, with the features that a model is to know (conf/ml/cdpd.yaml)"
curl -sS -o /dev/null --max-time 2 "$URL/" 2>/dev/null && die "something answers on $URL already; choose another port: CDPD_PORT=8095 $0"
rm -rf data/ml
mkdir -p data/ml
cp conf/ml/cdpd.yaml data/ml/cdpd.yaml
"$BUILD/cdpd" -c data/ml/cdpd.yaml --set "listen.http=127.0.0.1:$PORT" >data/ml/cdpd.log 2>&1 </dev/null &
DAEMON=$!
echo "$DAEMON" >data/ml/cdpd.pid
[ -n "${CDPD_KEEP:-}" ] || trap 'kill $DAEMON 2>/dev/null || true' EXIT
is_ready() { curl -fsS -o /dev/null --max-time 2 "$URL/readyz" 2>/dev/null; }
until_is "the start" is_ready

say "2. what happened"
python3 "$ROOT/packaging/ml_people.py" "$URL"
is_settled() { [ "$(api /v1/admin/status | field events pending)" = 0 ]; }
until_is "the fold" is_settled

say "3. a training set: what was known of each person each week, and who bought in the week after (conf/ml/training-set.yaml)"
ctl export training-set conf/ml/training-set.yaml --out data/ml/set.csv
head -n 4 data/ml/set.csv

say "4. a model, trained by plugins/xgboost/train/train.c; a quarter of the people is kept apart to judge it"
"$BUILD/xgboost-train" data/ml/set.csv data/ml/model.json

say "5. cdpd is told of the model (conf/ml/score.yaml) and loads it"
cat conf/ml/score.yaml >>data/ml/cdpd.yaml
kill -HUP "$DAEMON"
# Everybody was handed over, what came of it is folded, and nothing moves any more.
is_scored() {
	api /v1/admin/status | python3 -c 'import json, sys
status = json.load(sys.stdin)
to = [row for row in status["destinations"] if row["name"] == "buys-soon"]
sys.exit(not (to and to[0]["delivered"] and not to[0]["lag"] and not to[0]["snapshot"] and not status["events"]["pending"]))'
}
until_is "scoring" is_scored

say "6. a segment asks for the score: likely_buyers has $(api /v1/segments/likely_buyers | field members) people. One of them:"
ctl profile "id:$(api '/v1/segments/likely_buyers/members?limit=1' | field members 0 id)"
[ -z "${CDPD_KEEP:-}" ] || say "cdpd keeps running on $URL; stop it with: kill $DAEMON"
