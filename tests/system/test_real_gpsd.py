"""Recordings of real receivers through gpsfake -> gpsd -> gateway -> server: the track of the API equals what gpsd itself reports, nothing doubled.

What gpsd reports is taken by a second client of the same gpsd, connected before the first byte is fed. Of several reports with one time the one with the
most in it counts, since a receiver's cycle comes in several sentences.
"""
import glob
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Gateway, Place, Program, Server, data, duty, finish, free_port, gateway_conf, need, vehicle, wait_for  # noqa: E402


class Watcher(threading.Thread):
    """gpsd's JSON as any client sees it."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.lines, self.port = [], port
        self.ready = threading.Event()
        self.socket = None

    def run(self):
        self.socket = socket.create_connection(('127.0.0.1', self.port), timeout=60)
        stream = self.socket.makefile('rb')
        self.socket.sendall(b'?WATCH={"enable":true,"json":true};\n')
        try:
            for line in stream:
                try:
                    report = json.loads(line)
                except ValueError:
                    continue
                if report.get('class') == 'WATCH':
                    self.ready.set()
                self.lines.append(report)
        except OSError:
            pass


def time_ms(text):
    return round(datetime.strptime(text, '%Y-%m-%dT%H:%M:%S.%fZ').replace(tzinfo=timezone.utc).timestamp() * 1000)


def expected_track(reports):
    """time -> (lat, lon, speed), the fullest report of each time."""
    track = {}
    for r in reports:
        if r.get('class') != 'TPV' or r.get('mode', 0) < 2 or 'time' not in r or 'lat' not in r or 'lon' not in r:
            continue
        t = time_ms(r['time'])
        full = sum(k in r for k in ('lat', 'lon', 'speed', 'track'))
        if t not in track or full >= track[t][0]:
            track[t] = (full, r['lat'], r['lon'], r.get('speed'))
    return {t: v[1:] for t, v in track.items()}


def established(port):
    out = subprocess.run(['ss', '-Htn', 'state', 'established', 'sport', '=', ':%d' % port], stdout=subprocess.PIPE).stdout.decode()
    return len([line for line in out.splitlines() if line.strip()])


def play(place, log, port, gateway):
    """gpsfake single-steps: it feeds one sentence per line on its stdin, so nothing is fed before both clients listen."""
    fake = Program(['timeout', '-k', '5', '300', need('gpsfake'), '-1', '-q', '-i', '-P', str(port), log], place.path('gpsfake.log'), stdin=subprocess.PIPE)
    wait_for('gpsd of gpsfake', 20, lambda: not fake.alive() or can_connect(port))
    if not fake.alive():
        raise AssertionError('gpsfake ended: ' + fake.text()[-500:])
    watcher = Watcher(port)
    watcher.start()
    assert watcher.ready.wait(20)
    wait_for('the gateway on gpsd', 30, lambda: established(port) >= 2)
    sentences = 0
    try:
        while fake.alive():
            fake.child.stdin.write(b'\n')
            fake.child.stdin.flush()
            sentences += 1
            time.sleep(0.012)
    except (BrokenPipeError, OSError):
        pass
    fake.child.wait()
    watcher.join(10)
    return watcher.lines


def can_connect(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(('127.0.0.1', port)) == 0


def main():
    logs = sorted(glob.glob(data('protocols', 'gpsd_daemon', '*.log')))
    need('gpsd')
    if not logs:
        print('no recordings there')
        finish(False)
    bad = fixes_all = 0
    for log in logs:
        name = os.path.basename(log)[:-4]
        with Place() as place:
            port = free_port()
            fleet = duty([vehicle('bus-1', 'gw-1')])
            server = Server(place, fleet).start()
            conf = gateway_conf(place, 'gw-1', server.url, '[outbox]\ngroup_ms = 100\n\n[device gnss]\ndriver = gpsd\nport = %d\ntrust_time = receiver\n' % port)
            gateway = Gateway(place, conf, 'gw-1').start()
            reports = play(place, log, port, gateway)
            expected = expected_track(reports)
            answer = {}

            def arrived():
                if not expected:
                    return server.get('/api/v1/vehicles/bus-1')
                answer.update(server.get('/api/v1/vehicles/bus-1/track?from_ms=%d&to_ms=%d&limit=100000' % (min(expected) - 1, max(expected) + 1)))
                return len(answer['points']) >= len(expected)
            problems = []
            try:
                wait_for('the track', 15, arrived)
            except AssertionError as e:
                problems.append(str(e)[:200])
            points = [p for p in answer.get('points', []) if p[5] >= 2]
            times = [p[0] for p in points]
            if len(times) != len(set(times)):
                problems.append('doubled: %d' % (len(times) - len(set(times))))
            for p in points:
                e = expected.get(p[0])
                if e is None:
                    problems.append('not from gpsd: %r' % p)
                elif abs(p[1] - e[0]) > 1e-7 or abs(p[2] - e[1]) > 1e-7:
                    problems.append('position %r instead of %r' % (p, e))
                elif (p[3] is None) != (e[2] is None) or (p[3] is not None and abs(p[3] - e[2]) > 0.0006):
                    problems.append('speed %r instead of %r' % (p, e))
            missing = set(expected) - set(times)
            if missing:
                problems.append('missing: %d of %d' % (len(missing), len(expected)))
            print('%-28s gpsd %4d fixes, api %4d %s' % (name, len(expected), len(points), 'equal' if not problems else '; '.join(problems[:4])))
            fixes_all += len(points)
            bad += bool(problems)
            gateway.program.stop()
            server.program.stop()
    print('recordings=%d fixes=%d differing=%d' % (len(logs), fixes_all, bad))
    finish(bad == 0 and fixes_all > 500)


if __name__ == '__main__':
    main()
