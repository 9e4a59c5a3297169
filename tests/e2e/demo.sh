#!/usr/bin/env bash
# The demo as a newcomer starts it, and the pages of it in Chromium: moving buses within 20 s of its start, a first overload, speed and route alarm within two
# minutes, the pages' own end-to-end tests, a clean stop. Needs a build (scripts/demo builds what is missing).
set -u
cd "$(dirname "$0")/../.."
port=${DEMO_PORT:-18640}
log=build/test/demo-run.log
mkdir -p build/test
# a shell lets its background children ignore SIGINT; Ctrl-C is what is to be tested
python3 -c 'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])' scripts/demo --no-install --port "$port" >"$log" 2>&1 &
demo=$!
trap 'kill -TERM $demo 2>/dev/null; wait $demo 2>/dev/null' EXIT
for _ in $(seq 1 6000); do
  [ -f build/demo/demo.json ] && break
  kill -0 $demo 2>/dev/null || { echo "the demo ended before it was ready:"; tail -n 30 "$log"; exit 1; }
  sleep 0.1
done
python3 - <<'PY' || exit 1
import json, sys, time, urllib.request
demo = json.load(open('build/demo/demo.json'))
started = time.monotonic()

def get(path):
    request = urllib.request.Request(demo['url'].rstrip('/') + path, headers={'Authorization': 'Bearer ' + demo['token']})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)

def after():
    return time.monotonic() - started

seen, moving = {}, None
while moving is None and after() < 20:
    for v in get('/api/v1/vehicles')['vehicles']:
        p = v['position']
        if p and v['freshness'] == 'fresh':
            seen.setdefault(v['id'], set()).add((p['lat'], p['lon']))
    if sum(len(s) > 2 for s in seen.values()) >= 20:
        moving = after()
    time.sleep(0.5)
first = {}
while len(first) < 3 and after() < 120:
    for f in get('/api/v1/findings?limit=500')['findings']:
        first.setdefault(f['rule'][:3], after())
    first = {k: v for k, v in first.items() if k in ('OVL', 'SPD', 'RTE')}
    time.sleep(1)
print('moving_after_s=%s' % (None if moving is None else round(moving, 1)), ' '.join('first_%s_after_s=%.0f' % kv for kv in sorted(first.items())))
sys.exit(0 if moving is not None and len(first) == 3 else 1)
PY
SCHOOLWARD_DEMO_JSON=$PWD/build/demo/demo.json SCHOOLWARD_SCREENSHOTS=$PWD/build/screenshots npm run --silent test:e2e --prefix web
pages=$?
kill -INT $demo 2>/dev/null
wait $demo
stopped=$?
trap - EXIT
left=$(pgrep -f "$PWD/build/release/bin/schoolward-(server|gateway|sim)" || true)
echo "pages=$pages stopped=$stopped left_running=${left:-none}"
[ $pages = 77 ] && exit 77
[ $pages = 0 ] && [ $stopped = 0 ] && [ -z "$left" ]
