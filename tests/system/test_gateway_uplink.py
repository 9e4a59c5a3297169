"""The real gateway program against a server that misbehaves in every way the protocol allows for."""
import os
import re
import resource
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Gateway, Place, Program, free_port, gateway_conf, wait_for  # noqa: E402
from wireserver import WireServer, field  # noqa: E402

from harness import SECRET  # noqa: E402


def recording(place, name, seconds, per_second=1, start=0, urgent_every=0):
    """A ride north at 10 m/s; each fix has its own place, so records are told apart."""
    lines = ['# schoolward-replay 1']
    for i in range(seconds * per_second):
        ms = start + i * 1000 // per_second
        lines.append('%d fix %.7f %.7f 10.0 0.0 0.9 9 3' % (ms, 24.0 + i * 9e-5, 109.4))
        if urgent_every and i % urgent_every == urgent_every - 1:
            lines.append('%d camera dsm begin 1 %d 3 36 0' % (ms, i))
    return place.write(name, '\n'.join(lines) + '\n')


def conf(place, name, port, replay=None, speed=0, extra='', scheme='http', repeat=False, group_ms=100, host='127.0.0.1'):
    device = ''
    if replay:
        device = '[device replay]\ndriver = replay\nfile = %s\nspeed = %g\nrepeat = %s\n' % (replay, speed, 'yes' if repeat else 'no')
    return gateway_conf(place, name, '%s://%s:%d' % (scheme, host, port), '[outbox]\ngroup_ms = %d\n%s' % (group_ms, device), extra=extra)


def rss_kb(pid):
    with open('/proc/%d/status' % pid) as f:
        return int(next(line for line in f if line.startswith('VmRSS')).split()[1])


def figure(gateway, name):
    """A figure of the program's own, by SIGUSR1."""
    text = gateway.program.text()
    if 'main: schoolward-gateway' not in text:
        return 0
    gateway.program.child.send_signal(signal.SIGUSR1)
    wait_for('figures', 5, lambda: 'ack_ms=' in gateway.program.text()[len(text):], 0.01)
    return int(re.findall(r'\b%s=(\d+)' % name, gateway.program.text())[-1])


def start(place, name, config):
    return Gateway(place, config, name).start()


def end(gateway):
    gateway.program.child.send_signal(signal.SIGTERM)
    code = gateway.program.child.wait(timeout=20)
    assert code == 0, 'exit %d:\n%s' % (code, gateway.program.text()[-2000:])


def all_records_came(server, n, lane=0):
    return len([1 for l, _ in server.records if l == lane]) >= n and server.settled[lane].through() > 0


def check_whole(server):
    assert not server.conflicts, server.conflicts[:3]
    for lane in (0, 1):
        assert not server.missing(lane), (lane, server.missing(lane)[:10])


def test_flow_and_goodbye(place):
    port = free_port()
    server = WireServer(port, SECRET).start()
    g = start(place, 'bus-1', conf(place, 'bus-1', port, recording(place, 'ride', 2000, urgent_every=100)))
    wait_for('2000 fixes', 30, lambda: len([1 for v in server.records.values() if v[0] == 1]) >= 2000)
    wait_for('20 camera alarms', 10, lambda: len([1 for l, _ in server.records if l == 1]) >= 20)
    check_whole(server)
    fixes = [server.records[k][1] for k in sorted(server.records) if server.records[k][0] == 1]
    assert [f[1] for f in fixes] == [round((24.0 + i * 9e-5) * 1e7) for i in range(2000)], 'positions differ from the recording'
    assert server.hellos[0]['gateway'] == 'bus-1' and server.connections[0].path == '/gateway'
    print('rss_kb=%d' % rss_kb(g.program.child.pid))
    end(g)
    wait_for('the goodbye', 5, lambda: server.closes == [1000])
    server.stop()


def test_reconnect_without_loss(place):
    port = free_port()
    server = WireServer(port, SECRET)
    g = start(place, 'bus-2', conf(place, 'bus-2', port, recording(place, 'ride2', 60, per_second=20, urgent_every=50), speed=4))
    wait_for('the reason to be told', 10, lambda: 'cannot be reached' in g.program.text())
    for k in range(8):
        server.start()
        n = len(server.connections)
        wait_for('connection %d' % k, 10, lambda: len(server.connections) > n and server.batches and server.batches[-1][1] > n)
        server.stop()
    server.start()
    wait_for('all', 40, lambda: len([1 for v in server.records.values() if v[0] == 1]) >= 1200)
    wait_for('acks', 10, lambda: not server.unacked)
    check_whole(server)
    print('connections=%d repeats=%d records=%d' % (len(server.connections), server.repeats, len(server.records)))
    end(g)
    server.stop()


def test_acks_lost_half_and_in_ranges(place):
    port = free_port()
    server = WireServer(port, SECRET).start()
    server.acking = False
    g = start(place, 'bus-3', conf(place, 'bus-3', port, recording(place, 'ride3', 100, per_second=20), speed=20, extra='window = 4'))
    wait_for('a full window', 20, lambda: len(server.batches) >= 4)
    time.sleep(0.3)
    assert len(server.batches) == 4, 'window of 4 not kept: %d' % len(server.batches)
    # every second record only: through, and ranges above it
    server.ack_all(lambda lane, a, b: [(q, q) for q in range(a, b + 1, 2)][:30])
    server.current().drop()  # the gateway must learn the rest from the next Welcome
    server.acking = True
    wait_for('all', 40, lambda: len([1 for v in server.records.values() if v[0] == 1]) >= 2000 and not server.missing(0))
    wait_for('all settled', 30, lambda: server.settled[0].through() >= 2000)
    check_whole(server)
    print('repeats=%d' % server.repeats)
    end(g)
    server.stop()
    # what was acked is not kept: a second life begins with nothing old
    server = WireServer(port, SECRET).start()
    g = start(place, 'bus-3', conf(place, 'bus-3', port))
    wait_for('hello', 10, lambda: server.hellos)
    lane = server.hellos[0]['lanes'][0]
    assert lane[2] == lane[3] + 1, lane
    end(g)
    server.stop()


def test_live_before_backlog_alarms_before_all(place):
    port = free_port()
    # an outage of 20,000 records, then the connection comes back while the bus goes on
    g = start(place, 'bus-4', conf(place, 'bus-4', port, recording(place, 'ride4', 20000)))
    wait_for('the ride to be stored', 30, lambda: figure(g, 'stored') >= 20000)
    end(g)
    server = WireServer(port, SECRET)
    slow = []

    def on_batch(conn, batch):
        time.sleep(0.02)  # a thin link
        slow.append(batch)
    server.on_batch = on_batch
    server.start()
    live = recording(place, 'live4', 3000, per_second=20, urgent_every=20)
    g = start(place, 'bus-4', conf(place, 'bus-4', port, live, speed=1))
    wait_for('the backlog', 60, lambda: server.settled[0].through() >= 20000)
    check_whole(server)
    backlog = [b for b in server.batches if b[3]]
    alarms = [b for b in server.batches if b[2] == 1]
    live_between = [b for b in server.batches if b[2] == 0 and not b[3] and b[0] < backlog[-1][0]]
    assert backlog and all(a[4] < b[4] for a, b in zip(backlog, backlog[1:])), 'backlog is not oldest first'
    assert live_between, 'no live batch overtook the backlog'
    assert [b for b in alarms if b[0] < backlog[-1][0]], 'no alarm overtook the backlog'
    took = backlog[-1][0] - server.batches[0][0]
    print('backlog_records=20000 catch_up_s=%.1f live_batches_meanwhile=%d' % (took, len(live_between)))
    end(g)
    server.stop()


def test_wrong_secret_is_slow_and_plain(place):
    port = free_port()
    server = WireServer(port, 'another-secret').start()
    g = start(place, 'bus-5', conf(place, 'bus-5', port, extra='refused_ms = 6000'))
    wait_for('the refusal', 10, lambda: 'does not know gateway' in g.program.text())
    n = len(server.connections)
    time.sleep(0.9)
    assert len(server.connections) <= n, 'a refused gateway must wait'
    wait_for('another try', 8, lambda: len(server.connections) > n)
    assert SECRET not in g.program.text()
    end(g)
    server.stop()


def test_malformed_record_does_not_block(place):
    port = free_port()
    server = WireServer(port, SECRET)
    server.poison = 1500
    server.start()
    g = start(place, 'bus-6', conf(place, 'bus-6', port, recording(place, 'ride6', 3000)))
    wait_for('all but one', 60, lambda: len([1 for l, _ in server.records if l == 0]) >= 2999)
    missing = server.missing(0)
    assert missing == [1500], missing
    assert 'is given up' in g.program.text()
    print('connections=%d' % len(server.connections))
    end(g)
    server.stop()


def test_too_big_halves(place):
    port = free_port()
    server = WireServer(port, SECRET)
    server.max_accept = 1000
    server.start()
    g = start(place, 'bus-7', conf(place, 'bus-7', port, recording(place, 'ride7', 3000)))
    wait_for('all', 60, lambda: len([1 for v in server.records.values() if v[0] == 1]) >= 3000)
    check_whole(server)
    assert max(b[5] - b[4] for b in server.batches) < 512
    print('connections=%d' % len(server.connections))
    end(g)
    server.stop()


def test_dead_peer_is_noticed(place):
    port = free_port()
    server = WireServer(port, SECRET).start()
    g = start(place, 'bus-8', conf(place, 'bus-8', port, extra='ping_s = 1\npong_s = 1'))
    wait_for('connection', 10, lambda: server.hellos)
    wait_for('a ping', 10, lambda: server.pings > 0)
    server.current().deaf = True
    n = len(server.connections)
    began = time.monotonic()
    wait_for('a new connection', 15, lambda: len(server.connections) > n)
    print('dead_peer_s=%.1f' % (time.monotonic() - began))
    wait_for('welcome again', 10, lambda: g.program.text().count('connected to') >= 2)
    end(g)
    server.stop()


def test_orders(place):
    port = free_port()
    server = WireServer(port, SECRET).start()
    g = start(place, 'bus-9', conf(place, 'bus-9', port, recording(place, 'ride9', 5)))
    wait_for('records', 10, lambda: len([1 for v in server.records.values() if v[0] == 1]) >= 5)
    server.order(7, field(2, '前方道路施工'.encode()))
    server.order(8, field(3, 500))
    server.order(9, field(4, 1))
    wait_for('results', 10, lambda: len(server.results) >= 3)
    assert server.results[0] == (7, True, 'shown'), server.results
    assert server.results[1][:2] == (8, False), server.results  # no buzzer here
    assert server.results[2][1] and server.results[2][2].startswith('24.000360,109.400000'), server.results
    assert '前方道路施工' in g.program.text()
    end(g)
    server.stop()


def test_tls(place):
    port = free_port()
    key, cert, other = place.path('key.pem'), place.path('cert.pem'), place.path('other.pem')
    for out, keyout in ((cert, key), (other, place.path('okey.pem'))):
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=localhost',
                        '-addext', 'subjectAltName=DNS:localhost', '-keyout', keyout, '-out', out], check=True, stderr=subprocess.DEVNULL)
    server = WireServer(port, SECRET, cert=(cert, key)).start()

    def tls_conf(name, ca, host='localhost'):
        path = conf(place, name, port, scheme='https', host=host)
        with open(path) as f:
            text = f.read().replace('log_level', 'ca_file = %s\nlog_level' % ca)
        return place.write(name + '.conf', text)
    g = start(place, 'bus-10', tls_conf('bus-10', cert))
    wait_for('hello over TLS', 15, lambda: server.hellos)
    print('rss_tls_kb=%d' % rss_kb(g.program.child.pid))
    end(g)
    g = start(place, 'bus-11', tls_conf('bus-11', other))
    wait_for('the certificate to be refused', 15, lambda: 'TLS:' in g.program.text())
    assert len(server.hellos) == 1
    end(g)
    g = start(place, 'bus-12', tls_conf('bus-12', cert, host='127.0.0.1'))  # the name is not in the certificate
    wait_for('the name to be refused', 15, lambda: 'TLS:' in g.program.text())
    assert len(server.hellos) == 1
    end(g)
    server.stop()


def test_other_refusals_are_told(place):
    port = free_port()
    server = WireServer(port, SECRET)
    server.http_status = 404
    server.start()
    g = start(place, 'bus-13', conf(place, 'bus-13', port))
    wait_for('the status to be told', 10, lambda: 'HTTP status 404' in g.program.text())
    end(g)
    server.http_status, server.close_after_hello = 0, (4426, 'version: 2..3')
    g = start(place, 'bus-14', conf(place, 'bus-14', port))
    wait_for('the version to be told', 10, lambda: 'update the older one' in g.program.text())
    end(g)
    server.stop()
    g = start(place, 'bus-15', conf(place, 'bus-15', port, host='no-such-host.invalid'))
    wait_for('the name to be told', 30, lambda: 'cannot be resolved' in g.program.text())
    end(g)


def run_all(names, files=1024):
    wanted = sys.argv[1:]
    tests = [(n, f) for n, f in sorted(names.items()) if n.startswith('test_') and callable(f) and (not wanted or n in wanted)]
    failed = 0
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    for name, fn in tests:
        began = time.monotonic()
        with Place() as place:
            try:
                fn(place)
                print('ok %s %.1f s' % (name, time.monotonic() - began), flush=True)
            except Exception as e:  # the next test still runs
                failed += 1
                print('FAILED %s: %r' % (name, e), flush=True)
                for p in Program.all:
                    if p.alive() or p is Program.all[-1]:
                        print(p.text()[-3000:], flush=True)
            finally:
                for p in Program.all:
                    if p.alive():
                        p.child.kill()
                        p.child.wait()
                Program.all.clear()
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    run_all(globals())
