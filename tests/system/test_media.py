"""Pictures and clips from a camera to the office: fetched whole although packets come in the wrong order or not at all; kill -9 of gateway and server in the
middle of the upload loses and doubles nothing; a full disk costs pictures and no alarm; an alarm leaves within a second while files flow.
"""
import glob
import hashlib
import os
import random
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from camera_peer import Camera  # noqa: E402
from harness import OFFICER, SECRET, Gateway, Place, Program, Server, duty, finish, free_port, gateway_conf, vehicle, wait_for  # noqa: E402
from wireserver import WireServer, field, fields  # noqa: E402

random.seed(20261125)


def jpeg(n):
    return b'\xff\xd8\xff\xe0' + random.randbytes(n - 4)


def kept(place, name):
    return sorted(p for p in glob.glob(place.path(name + '-state', 'media', '*')) if not p.endswith('.tmp'))


def camera_conf(place, name, server_url, port, media, extra=''):
    return gateway_conf(place, name, server_url, '[media]\n%s\n\n[device dsm]\ndriver = camera\nport = tcp-listen:127.0.0.1:%d\nkeepalive_s = 1\n%s' % (media, port, extra))


def files_of(server):
    return [p for p in glob.glob(os.path.join(server.state, 'media', '*', '*'))]


def body_of(server, sha):
    request = urllib.request.Request(server.url + '/api/v1/media/' + sha, headers={'Authorization': 'Bearer ' + OFFICER})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()


def memory_kib(pid):
    """All of it, and what is not pages of files: those of the libraries are handed back half a minute after the start."""
    with open('/proc/%d/status' % pid, encoding='ascii') as f:
        lines = dict(line.split(':', 1) for line in f)
    return int(lines['VmRSS'].split()[0]), int(lines['RssAnon'].split()[0])


def through_kills(place):
    """Two files from the camera, twelve kills, both whole at the office exactly once."""
    name, port = 'gw-media', free_port()
    fleet = duty([vehicle('bus-1', name)])
    server = Server(place, fleet, '[ingest]\nbytes_per_s = 4000000\nrate_per_s = 2000\n')
    conf = camera_conf(place, name, server.url, port, 'kib_per_s = 700\nreserve_mb = 1\n\n[outbox]\ngroup_ms = 100')
    gateway = Gateway(place, conf, name).start()
    camera = Camera(port)
    camera.shuffle = True
    picture, clip = jpeg(300001), random.randbytes(2500000)
    camera.files = {(0, 7): picture, (2, 8): clip}
    camera.swallow = {(8, 5), (7, 0)}
    wait_for('the camera to be known', 10, lambda: 0x37 in camera.got)
    camera.alarm(2, list(camera.files))
    camera.alarm(3)
    wait_for('both files to be on the disk of the bus', 40, lambda: len(kept(place, name)) == 2)
    rss, anon = memory_kib(gateway.program.child.pid)
    shas = {hashlib.sha256(b).hexdigest(): b for b in (picture, clip)}
    assert {p.split('-')[-1].split('.')[0] for p in kept(place, name)} == set(shas)
    assert camera.again, 'nothing was asked for again although packets were swallowed'
    server.start()
    kills = {'gateway': 0, 'server': 0}
    halves = 0
    for i in range(12):
        time.sleep(random.uniform(0.15, 0.45))
        if not any(p.endswith('.part') for p in files_of(server)) and len(files_of(server)) == 2:
            break
        halves += any(p.endswith('.part') and os.path.getsize(p) > 0 for p in files_of(server))
        if i % 2:
            kills['server'] += 1
            server.program.kill()
            server.program = Program(server.program.args, server.program.log)
        else:
            kills['gateway'] += 1
            gateway.program.kill()
            gateway.start()
    wait_for('the server', 30, server.ready)
    wait_for('both files to be whole at the office', 60, lambda: len(files_of(server)) == 2 and not any(p.endswith('.part') for p in files_of(server)))
    for sha, body in shas.items():
        assert hashlib.sha256(body_of(server, sha)).hexdigest() == sha and body_of(server, sha) == body
    wait_for('the gateway to know that they were sent', 20, lambda: all(p.endswith('.sent') for p in kept(place, name)))
    # the server's start lies between the keeping and the first kill: both records were on disk
    wait_for('the journal to tell it', 20, lambda: sum(r['kind'] == 'media' and r.get('state') == 'kept' for r in server.journal_rows()) == 2)
    states = [r for r in server.journal_rows() if r['kind'] == 'media']
    assert gateway.program.stop() == 0
    assert server.program.stop() == 0
    camera.ended = True
    print('kills: gateway=%d server=%d, of them with half a file at the office=%d, asked again for %d packets, gateway rss=%d KiB, %d KiB its own' % (
        kills['gateway'], kills['server'], halves, len(camera.again), rss, anon))
    print('media records: %s' % sorted('%s %s' % (r.get('state'), r.get('bytes')) for r in states))
    assert kills['gateway'] >= 2 and kills['server'] >= 2 and halves >= 2
    return anon


def latency(place):
    """Alarms while a clip flows: from the camera's socket to the server's."""
    name, port, wire_port = 'gw-late', free_port(), free_port()
    wire = WireServer(wire_port, SECRET).start()
    store = {'n': 0, 'data': bytearray()}

    def on_media(conn, body):
        p = fields(body)
        data, offset = p.get(4, [b''])[0], p.get(3, [0])[0]
        if offset == len(store['data']):
            store['data'] += data
        store['n'] += 1
        done = len(store['data']) == p[2][0]
        conn.send(field(9, field(1, p[1][0]) + field(2, len(store['data'])) + (field(3, 1) if done else b'')))
    wire.on_media = on_media
    conf = camera_conf(place, name, 'http://127.0.0.1:%d' % wire_port, port, 'kib_per_s = 200\nreserve_mb = 1')
    gateway = Gateway(place, conf, name).start()
    camera = Camera(port)
    clip = random.randbytes(1500000)
    camera.files = {(2, 1): clip}
    wait_for('the camera to be known', 10, lambda: 0x37 in camera.got)
    camera.alarm(1, [(2, 1)])
    wait_for('the clip to flow', 30, lambda: len(store['data']) > 50000)
    took = []
    while len(took) < 20:
        before = len(wire.batches)
        flowing = len(store['data']) < len(clip)
        began = time.monotonic()
        camera.alarm(2)
        wait_for('the alarm', 10, lambda: any(b[2] == 1 for b in wire.batches[before:]), 0.002)
        if flowing:
            took.append(time.monotonic() - began)
        else:
            break
        time.sleep(random.uniform(0.05, 0.2))
    wait_for('the whole clip', 60, lambda: len(store['data']) == len(clip))
    assert bytes(store['data']) == clip
    assert gateway.program.stop() == 0
    wire.stop()
    camera.ended = True
    print('alarms while a clip flowed: %d, slowest %.0f ms; %d pieces for %d bytes' % (len(took), max(took) * 1000, store['n'], len(clip)))
    assert len(took) >= 10 and max(took) < 1.0


def full_disk(place):
    """No room for pictures: they are given up and told, the alarm arrives."""
    name, port, wire_port = 'gw-full', free_port(), free_port()
    wire = WireServer(wire_port, SECRET).start()
    conf = camera_conf(place, name, 'http://127.0.0.1:%d' % wire_port, port, 'reserve_mb = 65536')
    state = place.path(name + '-state')
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=32m,mode=0700', 'none', state], stderr=subprocess.DEVNULL, check=False).returncode == 0
    free = os.statvfs(state)
    if free.f_bavail * free.f_frsize >= 65536 << 20:
        print('full disk: not tried, the disk has more than 64 GiB free and tmpfs cannot be mounted')
        return
    try:
        gateway = Gateway(place, conf, name).start()
        camera = Camera(port)
        camera.files = {(0, 1): jpeg(20000)}
        wait_for('the camera to be known', 10, lambda: 0x37 in camera.got)
        camera.alarm(2, [(0, 1)])
        wait_for('the alarm', 10, lambda: any(e[0] == 4 for (lane, _), e in wire.records.items() if lane == 1))
        given_up = wait_for('the picture to be given up', 10, lambda: [e for (lane, _), e in wire.records.items() if lane == 0 and e[0] == 11])
        assert 0x50 not in camera.got
        assert fields(fields(given_up[0][1])[11][0]).get(7) == [3], fields(given_up[0][1])
        assert not kept(place, name)
        assert gateway.program.stop() == 0
    finally:
        wire.stop()
        camera.ended = True
        if mounted:
            subprocess.run(['umount', '-l', state], check=False)
    print('full disk: picture given up and told, alarm arrived (tmpfs: %s)' % mounted)


def main():
    with Place() as place:
        anon = through_kills(place)
        latency(place)
        full_disk(place)
        finish(anon <= 4096)


if __name__ == '__main__':
    main()
