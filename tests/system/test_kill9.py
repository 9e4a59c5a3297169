"""kill -9 of gateway, server or both at random moments. Nothing acknowledged may be lost, nothing doubled: in the journal, in the findings and in InfluxDB,
which is down for the first half of the run.

Oracle: sequences. A gateway numbers what it stored without holes; so when the outbox has drained, the journal must hold 1..last of each lane exactly once,
InfluxDB exactly the fixes of the journal, and the findings must be those that a fresh server derives from the same journal from scratch.
"""
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BIN, Gateway, Place, Program, Server, data, duty, finish, free_port, gateway_conf, need, straight_line, vehicle, wait_for, wait_port  # noqa: E402,F401

CYCLES = int(os.environ.get("CYCLES", 3000 if os.environ.get("SCHOOLWARD_NIGHTLY") == "1" else 200))
BUSES = 3


def recording(bus):
    """Twenty minutes at 5 Hz, begun again at every restart: the first bus presses SOS, the second speeds, the third has four too many aboard."""
    lines = ['# schoolward-replay 1']
    line = straight_line(points=601, step=0.0005)
    lines.append('0 inputs door_front=0 ignition=1 sos=0')
    lines.append('10 count door 0 %d 0 - 95' % (42 if bus == 2 else 18)) # and two of the staff who pass no counted door
    lines.append('20 count camera 0 - - %d 90' % (44 if bus == 2 else 20))
    for i in range(6000):
        lon, lat = line[i % 601]
        lines.append('%d fix %.7f %.7f %.3f 90 0.9 12 3' % (i * 200, lat, lon, 25.0 if bus == 1 else 9.0))
        if bus == 0 and i % 150 == 1:
            lines.append('%d inputs door_front=0 ignition=1 sos=1' % (i * 200 + 40))
            lines.append('%d inputs door_front=0 ignition=1 sos=0' % (i * 200 + 90))
    return '\n'.join(lines) + '\n'


def influx(port, query):
    url = 'http://127.0.0.1:%d/query?%s' % (port, urllib.parse.urlencode({'db': 'schoolward', 'q': query, 'epoch': 'ms'}))
    request = urllib.request.Request(url, method='POST', data=b'')
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def influx_count(port, field, measurement):
    result = influx(port, 'SELECT count(%s) FROM "%s" GROUP BY vehicle' % (field, measurement))['results'][0]
    return {s['tags']['vehicle']: s['values'][0][1] for s in result.get('series', [])}


def start_influx(place, port):
    influxd = need('influxd')
    conf = place.write('influx.conf', '''reporting-disabled = true
bind-address = "127.0.0.1:%d"
[meta]
dir = "%s"
[data]
dir = "%s"
wal-dir = "%s"
index-version = "tsi1"
query-log-enabled = false
[http]
bind-address = "127.0.0.1:%d"
log-enabled = false
''' % (free_port(), place.path('im'), place.path('id'), place.path('iw'), port))
    program = Program([influxd, '-config', conf], place.path('influx.log'))
    wait_port(port)
    influx(port, 'CREATE DATABASE schoolward')
    return program


def outbox_state(place, name):
    """Last sequence and records kept, per lane, from the gateway's own file: the next one stands behind the last row, or in the row with sequence 0."""
    with sqlite3.connect('file:%s?mode=ro' % place.path(name + '-state', 'outbox.db'), uri=True, timeout=10) as db:
        last = dict(db.execute('SELECT lane, max(first_seq + n) - 1 FROM outbox GROUP BY lane'))
        waiting = dict(db.execute('SELECT lane, sum(n) FROM outbox WHERE first_seq > 0 GROUP BY lane'))
    return {lane: (last[lane], waiting.get(lane, 0)) for lane in (0, 1)}


def start_again(gateway):
    """Without the count of its starts: five that do not last two minutes are a reason for safe mode, and here none lasts half a second."""
    care = gateway.place.path(gateway.name + '-state', 'care')
    if os.path.exists(care):
        os.remove(care)
    gateway.start()


def main():
    random.seed(int(os.environ.get('SEED', '20261123')))
    with Place() as place:
        names = ['gw-%d' % i for i in range(BUSES)]
        line = straight_line(points=601, step=0.0005)
        route = {'id': 'r1', 'name_zh': '1号线', 'name_en': 'Route 1', 'rural': False, 'line': line,
                 'segments': [{'from_m': 0, 'to_m': 20000, 'posted_kmh': 60, 'road': 'city_one_lane'}],
                 'stops': [{'id': 's1', 'name_zh': '一站', 'name_en': 'One', 'lat': line[10][1], 'lon': line[10][0], 'offset_s': 60}], 'runs': []}
        fleet = duty([vehicle('bus-%d' % i, names[i], [{'route': 'r1'}]) for i in range(BUSES)], [route])
        influx_port = free_port()
        series = '[series]\napi = v1\nurl = http://127.0.0.1:%d\ndatabase = schoolward\n' % influx_port
        server = Server(place, fleet, series).start()
        gateways = []
        for i, name in enumerate(names):
            rec = place.write(name + '.replay', recording(i))
            conf = gateway_conf(place, name, server.url, '[outbox]\ngroup_ms = 100\n\n[device player]\ndriver = replay\nfile = %s\n' % rec)
            gateways.append(Gateway(place, conf, name).start())
        # before a gateway ever had a file of its own there is nothing that could be lost
        wait_for('every gateway to be heard', 30, lambda: all(v['position'] for v in server.get('/api/v1/vehicles')['vehicles']))
        kills = {'gateway': 0, 'server': 0, 'both': 0}
        for cycle in range(CYCLES):
            if cycle == CYCLES // 2:
                start_influx(place, influx_port)
            time.sleep(random.uniform(0.02, 0.35))
            what = random.choice(['gateway', 'server', 'both'])
            kills[what] += 1
            gateway = random.choice(gateways)
            if what in ('gateway', 'both'):
                gateway.program.kill()
            if what in ('server', 'both'):
                server.program.kill()
                server.program = Program(server.program.args, server.program.log)
            if what in ('gateway', 'both'):
                start_again(gateway)
        wait_for('the server to be ready', 60, server.ready)
        # stop the devices, keep the uplinks until all is acknowledged
        for gateway in gateways:
            gateway.program.kill()
            with open(gateway.conf, encoding='utf-8') as f:
                text = f.read().split('[device player]')[0]
            place.write(gateway.name + '.conf', text)
            since = len(gateway.program.text())
            start_again(gateway)
            gateway.program.wait_line('connected to', 60, since)
        drained = {}
        for name in names:
            drained[name] = wait_for('the outbox of %s to drain' % name, 120, lambda n=name: (lambda s: s if all(w == 0 for _, w in s.values()) else None)(outbox_state(place, n)))
        for gateway in gateways:
            assert gateway.program.stop() == 0
        rows = server.journal_rows()
        lost = doubled = 0
        fixes = {}
        for name in names:
            for lane in (0, 1):
                seqs = [r['seq'] for r in rows if r['gateway'] == name and r['lane'] == lane]
                last = drained[name][lane][0]
                lost += last - len({s for s in seqs if s <= last})  # until it is told to end the gateway may say more of itself
                doubled += len(seqs) - len(set(seqs))
            fixes['bus-' + name[3:]] = len({r['time_ms'] for r in rows if r['gateway'] == name and r['kind'] == 'fix'})
        wait_for('InfluxDB to have every point', 120, lambda: influx_count(influx_port, 'lat', 'fix') == fixes)
        points = influx_count(influx_port, 'lat', 'fix')

        found = all_findings(server)
        assert server.program.stop() == 0
        again = rejudge(place, server, fleet)
        print('cycles=%d killed_gateway=%d killed_server=%d killed_both=%d' % (CYCLES, kills['gateway'], kills['server'], kills['both']))
        print('events=%d lost=%d doubled=%d' % (len(rows), lost, doubled))
        print('influx_points=%d journal_fixes=%d' % (sum(points.values()), sum(fixes.values())))
        print('findings=%d findings_rejudged=%d differ=%d' % (len(found), len(again), len(set(found.items()) ^ set(again.items()))))
        if set(found.items()) ^ set(again.items()):
            print('only there:', set(found.items()) - set(again.items()), 'only again:', set(again.items()) - set(found.items()))
        finish(lost == 0 and doubled == 0 and points == fixes and len(found) > 0 and found == again and {f[0] for f in found.values()} >= {'SOS-1', 'SPD-1', 'OVL-1'})


def all_findings(server):
    found, cursor = {}, ''
    while True:
        page = server.get('/api/v1/findings?limit=500' + cursor)
        for f in page['findings']:
            assert f['id'] not in found
            found[f['id']] = (f['rule'], f['vehicle'], f['opened_ms'], f['closed_ms'], f['severity'], f['late'])
        if not page['next_cursor']:
            return found
        cursor = '&cursor=' + urllib.parse.quote(page['next_cursor'])


def rejudge(place, server, fleet):
    """The same journal without checkpoint and ledger in a fresh server."""
    other = Server(place, fleet, name='again')
    src, dst = os.path.join(server.state, 'journal'), os.path.join(other.state, 'journal')
    os.makedirs(dst, mode=0o700)
    for name in os.listdir(src):
        if name.startswith('journal-'): # not the checkpoint: everything is judged again
            subprocess.run(['cp', '-a', os.path.join(src, name), dst], check=True)
    other.start()
    found = all_findings(other)
    other.program.stop()
    return found


if __name__ == '__main__':
    main()
