"""The gateway as a program: options, exit codes, the supervisor's protocol, what it does when its folder or files are not as they should be."""
import os
import re
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BIN, SECRET, Place, Program, free_port, gateway_conf, wait_for  # noqa: E402
from test_gateway_uplink import conf, end, recording, start  # noqa: E402
from wireserver import WireServer  # noqa: E402

PROGRAM = os.path.join(BIN, 'schoolward-gateway')


def run(*args, timeout=20):
    p = subprocess.run([PROGRAM, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def test_options(place):
    code, out, err = run('--version')
    assert (code, err) == (0, '') and re.fullmatch(r'schoolward-gateway \d+\.\d+\.\d+\n', out), (code, out, err)
    code, out, _ = run('--help')
    assert code == 0 and '--check-config' in out
    for args in (['--nonsense'], ['extra'], ['--config'], ['--set']):
        code, _, err = run(*args)
        assert code == 64 and '--help' in err, (args, code, err)


def test_check_config(place):
    good = conf(place, 'bus-1', 2000)
    assert run('--config', good, '--check-config') == (0, 'OK\n', '')
    bad = place.write('bad.conf', '[gateway]\nid = bus 1\nserver = http://x\n[outbox]\ngroup_ms = 1\n')
    code, out, err = run('--config', bad, '--check-config')
    assert code == 78 and out == '', (code, out)
    lines = err.splitlines()
    assert len(lines) == 3 and all(re.match(re.escape(bad) + r':\d+: \w+: .+: .+', x) for x in lines), err
    assert run('--config', bad)[0] == 78
    assert run('--config', place.path('none.conf'))[0] == 78
    os.remove(place.path('bus-1-secret'))
    code, _, err = run('--config', good, '--check-config')
    assert code == 78 and 'put the secret the server gave' in err, err
    place.write('bus-1-secret', SECRET + '\n', 0o600)
    duty = place.write('duty.json', '{"format": "schoolward.duty.1", "routes": [], "vehicles": [], "weather_orders": [], "extra": 1}')
    code, _, err = run('--config', good, '--set', 'gateway.duty_file=' + duty, '--check-config')
    assert code == 78 and duty in err and 'extra' in err, err


def test_print_config(place):
    good = conf(place, 'bus-1', 2000)
    code, out, _ = run('--config', good, '--set', 'outbox.group_ms=700', '--print-config')
    assert code == 0 and 'group_ms = 700' in out and 'default 2000' in out
    assert SECRET not in out
    again = place.write('again.conf', out)
    assert run('--config', again, '--print-config')[1] == out


def test_supervisor(place):
    path = place.path('notify')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(10)
        p = Program([PROGRAM, '--config', conf(place, 'bus-1', free_port())], place.path('log'), env={'NOTIFY_SOCKET': path, 'WATCHDOG_USEC': '400000'})
        assert s.recv(100) == b'READY=1'
        began = time.monotonic()
        assert [s.recv(100) for _ in range(3)] == [b'WATCHDOG=1'] * 3
        assert 0.4 < time.monotonic() - began < 2
        assert p.stop() == 0
        got = b''
        while got != b'STOPPING=1':
            got = s.recv(100)
    p = Program([PROGRAM, '--config', conf(place, 'bus-1', free_port())], place.path('log2'), env={'JOURNAL_STREAM': '1:2'})
    wait_for('a line', 10, lambda: 'schoolward-gateway' in p.text())
    p.child.send_signal(signal.SIGINT)
    assert p.child.wait(10) == 0
    assert all(re.match(r'<[3-7]>\w+: ', x) for x in p.text().splitlines()), p.text()


def test_state_dir(place):
    good = conf(place, 'bus-1', 2000)
    code, _, err = run('--config', good, '--set', 'gateway.state_dir=/proc/none/here')
    assert code == 73 and 'state_dir' in err, (code, err)
    first = start(place, 'bus-1', good)
    wait_for('the start', 10, lambda: 'devices' in first.program.text())
    code, _, err = run('--config', good)
    assert code == 74 and 'is a gateway running already' in err, (code, err)
    end(first)


def test_damaged_outbox_does_not_stop_it(place):
    port = free_port()
    config = conf(place, 'bus-1', port, recording(place, 'ride', 300))
    g = start(place, 'bus-1', config)
    wait_for('the records', 10, lambda: os.path.exists(place.path('bus-1-state', 'outbox.db-wal')) and os.path.getsize(place.path('bus-1-state', 'outbox.db-wal')) > 4000)
    g.program.kill()
    for name in ('outbox.db', 'outbox.db-wal'):
        with open(place.path('bus-1-state', name), 'r+b') as f:
            f.write(b'\xaa' * 6000)
    server = WireServer(port, SECRET).start()
    g = start(place, 'bus-1', config)
    wait_for('new records at the server', 15, lambda: len(server.records) >= 300)
    assert 'set aside as' in g.program.text()
    assert min(q for _, q in server.records) > 300, 'numbers went back'
    assert not server.missing(0)
    end(g)
    server.stop()


def test_no_server_no_duty_no_device(place):
    config = place.write('bare.conf', '[gateway]\nid = bare\nstate_dir = %s\nduty_file = %s\n' % (place.path('bare'), place.path('none.json')))
    p = Program([PROGRAM, '--config', config], place.path('log'))
    wait_for('it to run', 10, lambda: 'schoolward-gateway' in p.text())
    for told in ('no server is configured', 'none.json: No such file', 'no [device NAME] is configured'):
        assert told in p.text(), told
    assert p.stop() == 0
    assert os.stat(place.path('bare')).st_mode & 0o77 == 0
    assert os.stat(place.path('bare', 'outbox.db')).st_mode & 0o77 == 0


def test_power_cuts_of_the_program(place):
    """kill -9 at random moments, the server going on: all that was acked is not sent again, all that was stored arrives, once."""
    port = free_port()
    server = WireServer(port, SECRET).start()
    for life in range(12):
        config = conf(place, 'bus-1', port, recording(place, 'ride%d' % life, 400, per_second=50, urgent_every=25), speed=1)
        acked, n = server.settled[0].through(), len(server.hellos)  # nobody is connected now
        g = start(place, 'bus-1', config)
        wait_for('hello', 10, lambda: len(server.hellos) > n)
        lane = server.hellos[-1]['lanes'][0]
        assert lane.get(2, 0) > 0 or life == 0
        assert lane.get(3, 0) >= acked, 'the gateway forgot numbers'
        time.sleep(0.3 + (life * 37 % 10) / 20)
        g.program.kill()
    g = start(place, 'bus-1', conf(place, 'bus-1', port))
    n = len(server.hellos)
    wait_for('the last hello', 10, lambda: len(server.hellos) > n)
    last = server.hellos[-1]['lanes'][0].get(3, 0)
    wait_for('the rest', 20, lambda: server.settled[0].through() >= last)
    assert not server.conflicts and not server.missing(0) and not server.missing(1)
    print('lives=13 records=%d repeats=%d' % (len(server.records), server.repeats))
    end(g)
    server.stop()


if __name__ == '__main__':
    import test_gateway_uplink
    test_gateway_uplink.run_all(globals())
