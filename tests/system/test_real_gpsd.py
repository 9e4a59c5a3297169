"""Recordings of real receivers through gpsfake -> gpsd -> gateway -> server: the track of the API equals what gpsd itself reports, nothing doubled.

The whole of it is in the journal; the track leaves out what the quality gate of the gateway doubts.

What gpsd reports is written down by a relay between gpsd and the gateway, so both see the very same bytes. Of several reports with one time the one
with the most in it counts, since a receiver's cycle comes in several sentences.
"""
import glob
import json
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Gateway, Place, Program, Server, data, duty, finish, free_port, gateway_conf, need, vehicle, wait_for  # noqa: E402


class Relay(threading.Thread):
    """Stands where the gateway looks for gpsd, waits until the real one is there, passes everything on and keeps what gpsd said."""

    def __init__(self, gpsd_port):
        super().__init__(daemon=True)
        self.gpsd_port = gpsd_port
        self.listener = socket.create_server(('127.0.0.1', free_port()))
        self.port = self.listener.getsockname()[1]
        self.said = bytearray()

    def run(self):
        try:
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()
        except OSError:
            pass

    def serve(self, client):
        try:
            while not can_connect(self.gpsd_port):
                time.sleep(0.02)
            gpsd = socket.create_connection(('127.0.0.1', self.gpsd_port))
            threading.Thread(target=self.copy, args=(client, gpsd, None), daemon=True).start()
            self.copy(gpsd, client, self.said)
        except OSError:
            client.close()

    @staticmethod
    def copy(src, dst, keep):
        try:
            while True:
                part = src.recv(65536)
                if not part:
                    break
                if keep is not None:
                    keep += part
                dst.sendall(part)
        except OSError:
            pass
        for s in (src, dst):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def reports(self):
        found = []
        for line in bytes(self.said).split(b'\n'):
            try:
                found.append(json.loads(line))
            except ValueError:
                pass
        return found


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


def play(place, log, relay):
    """Feed one recording; it is through when gpsd has fallen silent (gpsfake itself would wait another minute)."""
    with open(log, 'rb') as f:
        recorded = f.read()
    paced = place.path('recording.log') # a comment that makes gpsfake wait until the gateway listens, then the recording as it is
    with open(paced, 'wb') as f:
        f.write(b'#%Delay: 3 UpDate:\n' + recorded)
    fake = Program(['timeout', '-k', '5', '300', need('gpsfake'), '-1', '-q', '-c', '0.012', '-P', str(relay.gpsd_port), paced], place.path('gpsfake.log'))
    started, quiet, before = time.monotonic(), None, -1
    while fake.alive() and (quiet is None or time.monotonic() - quiet < 5) and time.monotonic() - started < 120:
        time.sleep(0.05)
        if len(relay.said) != before:
            quiet, before = time.monotonic() if len(relay.said) > 0 else None, len(relay.said)
    if not fake.alive() and before <= 0:
        raise AssertionError('gpsfake ended: ' + fake.text()[-500:])
    fake.child.terminate()
    fake.child.wait()
    return relay.reports()


def can_connect(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(('127.0.0.1', port)) == 0


def stored(server):
    """Every position in the journal, doubtful or not: (time, lat, lon, speed, doubt)."""
    return [(e['time_ms'], e['lat'], e['lon'], e['speed_mps'], e['doubt']) for e in server.journal_rows() if e['kind'] == 'fix' and e['mode'] >= 2]


def compare(expected, points):
    """What is wrong with the stored positions, in words."""
    problems = []
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
    return problems


def one(log):
    """One recording through programs of its own; prints name, fixes and problems as JSON."""
    with Place() as place:
        relay = Relay(free_port())
        relay.start()
        server = Server(place, duty([vehicle('bus-1', 'gw-1')])).start()
        conf = gateway_conf(place, 'gw-1', server.url, '[outbox]\ngroup_ms = 100\n\n[device gnss]\ndriver = gpsd\nport = %d\ntrust_time = receiver\n[gnss]\nclock_s = 0\n' % relay.port)
        gateway = Gateway(place, conf, 'gw-1').start()
        expected = expected_track(play(place, log, relay))
        points = []

        def arrived():
            if expected:
                points[:] = stored(server)
            return len(points) >= len(expected)
        problems = []
        try:
            wait_for('the track', 15, arrived)
        except AssertionError as e:
            problems.append(str(e)[:200])
        problems += compare(expected, points)
        # what the track shows is what was stored, less what the gate doubts: at least the first two
        answer = server.get('/api/v1/vehicles/bus-1/track?from_ms=%d&to_ms=%d&limit=20000' % (min(expected) - 1, max(expected) + 1)) if expected else {'points': []}
        shown = [p[0] for p in answer['points']]
        believed = [p[0] for p in points if p[4] == 0]
        if sorted(shown) != sorted(believed):
            problems.append('shown %d, believed %d' % (len(shown), len(believed)))
        gateway.program.stop()
        relay.listener.close()
        server.program.stop()
        print(json.dumps({'name': os.path.basename(log)[:-4], 'gpsd': len(expected), 'api': len(points), 'doubted': len(points) - len(believed), 'problems': problems}))


def main():
    if len(sys.argv) > 1:
        one(sys.argv[1])
        return
    logs = sorted(glob.glob(data('protocols', 'gpsd_daemon', '*.log')))
    need('gpsd')
    if not logs:
        print('no recordings there')
        finish(False)

    def run(log):
        out = subprocess.run([sys.executable, os.path.abspath(__file__), log], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300).stdout.decode()
        try:
            return json.loads(out.splitlines()[-1])
        except (ValueError, IndexError):
            return {'name': os.path.basename(log)[:-4], 'gpsd': 0, 'api': 0, 'doubted': 0, 'problems': [out[-1500:]]}
    with ThreadPoolExecutor(4) as pool: # nearly all of the time is waiting for the next sentence
        results = list(pool.map(run, logs))
    for r in results:
        print('%-28s gpsd %4d fixes, stored %4d, doubted %3d %s' % (r['name'], r['gpsd'], r['api'], r['doubted'], 'equal' if not r['problems'] else '; '.join(r['problems'][:4])))
    fixes, bad = sum(r['api'] for r in results), sum(bool(r['problems']) for r in results)
    print('recordings=%d fixes=%d differing=%d' % (len(logs), fixes, bad))
    finish(bad == 0 and fixes > 400)


if __name__ == '__main__':
    main()
