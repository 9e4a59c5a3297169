"""The technician's tools against real gateways: status and record over the socket and without a gateway, doctor, and who is kept out."""
import json
import os
import pty
import re
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
import tty

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BIN, SECRET, SOURCE, Place, Program, free_port, wait_for  # noqa: E402
from test_gateway_uplink import conf, end, recording, start  # noqa: E402
from wireserver import WireServer  # noqa: E402

PROGRAM = os.path.join(BIN, 'schoolward-gateway')
PLAYER = os.path.join(os.path.dirname(BIN), 'tests', 'test_driver_recordings')
ENV = dict(os.environ, SCHOOLWARD_DEVICES=os.path.join(SOURCE, 'firmware-config/devices'), LANG='C', LC_ALL='C')


def run(*args, timeout=30, env=None):
    p = subprocess.run([PROGRAM, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, env=dict(ENV, **(env or {})))
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def width(text):
    return sum(2 if ord(c) >= 0x3000 else 1 for c in text)


def ask(path, line, read=True):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(15)
    s.connect(path)
    s.sendall(line)
    got = b''
    while read:
        try:
            part = s.recv(65536)
        except ConnectionResetError:  # hung up on before everything was read
            return got
        if not part:
            break
        got += part
    return got if read else s


def test_status(place):
    port = free_port()
    server = WireServer(port, SECRET).start()
    config = conf(place, 'bus-1', port, recording(place, 'ride', 60, urgent_every=10))
    g = start(place, 'bus-1', config)
    wait_for('the records', 15, lambda: len(server.records) >= 60)
    status = wait_for('everything acknowledged', 10, lambda: (lambda s: s if s['report']['waiting_bulk'] == 0 else None)(json.loads(run('status', '--config', config, '--json')[1])))
    assert status['gateway'] == 'bus-1' and status['uplink']['state'] == 'welcomed' and status['report']['connected'] is True, status
    device = status['report']['devices'][0]
    assert (device['name'], device['kind'], device['state']) == ('replay', 'replay', 'ok') and device['events'] == 66, device
    assert status['gnss']['satellites'] == 9 and abs(status['gnss']['lat'] - 24.00531) < 1e-4, status['gnss']
    assert status['outbox']['stored'] == status['outbox']['acked'] > 60
    for lang, words in (('en', ('welcomed', 'satellites', 'DEVICE', 'replay')), ('zh', ('已连接', '颗星', '设备', '回放'))):
        code, out, err = run('status', '--config', config, '--lang', lang)
        assert code == 0 and not err and all(w in out for w in words), out
        assert max(width(line) for line in out.splitlines()) <= 80, out
    assert '已连接' in run('status', '--config', config, env={'LC_ALL': 'zh_CN.UTF-8'})[1]
    assert SECRET not in out
    server.stop()
    away = wait_for('the gateway to notice', 15, lambda: (lambda s: s if s['report']['connected'] is False else None)(json.loads(run('status', '--config', config, '--json')[1])))
    assert away['uplink']['state'] != 'welcomed', away['uplink']
    end(g)
    code, out, err = run('status', '--config', config)
    assert (code, out) == (69, '') and 'no gateway is running' in err, (code, out, err)


def test_socket_is_guarded(place):
    config = conf(place, 'bus-1', free_port())
    g = start(place, 'bus-1', config)
    path = place.path('bus-1-state', 'status.sock')
    wait_for('the socket', 10, lambda: os.path.exists(path))
    mode = stat.S_IMODE(os.stat(path).st_mode)
    assert mode == 0o660, oct(mode)
    for line in (b'nonsense\n', b'record replay 0\n', b'record ../x 1\n', b'status \n', b'\n', b'\xff\0\n'):
        assert ask(path, line) == b'error not understood\n', line
    assert ask(path, b'record nobody 1\n').startswith(b'error there is no [device nobody]')
    assert ask(path, b'x' * 500) == b'', 'an endless line is hung up on'
    # four that say nothing fill the door; they are cut off, and then it is free again
    idle = [ask(path, b'', read=False) for _ in range(4)]
    began = time.monotonic()
    try:
        assert ask(path, b'status\n') == b'', 'a fifth caller was let in'
    except BrokenPipeError:
        pass
    for s in idle:
        assert s.recv(10) == b'', 'an idle caller got an answer'
    took = time.monotonic() - began
    assert 3 < took < 15, took
    got = ask(path, b'status\n')
    assert got.startswith(b'ok\n{"gateway":"bus-1"'), got
    g.program.kill()
    assert os.path.exists(path), "a kill leaves the socket"
    g = start(place, 'bus-1', config)
    wait_for('an answer after a kill', 10, lambda: run('status', '--config', config, '--json')[0] == 0)
    end(g)
    assert not os.path.exists(path), "an orderly end leaves the socket"


def play(place, driver, made):
    """The recording as a case of the real player: written once, then compared."""
    tree = place.path('tree')
    folder = os.path.join(tree, 'tests/replay/recordings', driver)
    os.makedirs(folder, exist_ok=True)
    shutil.copy(made, os.path.join(folder, 'made.in'))
    for name in ('firmware-config', 'core'):
        if not os.path.exists(os.path.join(tree, name)):
            os.symlink(os.path.join(SOURCE, name), os.path.join(tree, name))
    env = dict(ENV, SCHOOLWARD_SOURCE=tree)
    subprocess.run([PLAYER, driver + '/made'], env=dict(env, SCHOOLWARD_RECORDINGS='write'), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    again = subprocess.run([PLAYER, driver + '/made'], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert again.returncode == 0, again.stdout.decode()[-2000:]
    assert '1 real' in again.stdout.decode(), again.stdout.decode()
    with open(os.path.join(folder, 'made.expect'), encoding='utf-8') as f:
        return f.read()


class FakeGpsd(threading.Thread):
    """Two fixes a second to whoever asks for them."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.socket()
        self.listener.bind(('127.0.0.1', free_port()))
        self.listener.listen(4)
        self.port = self.listener.getsockname()[1]
        self.over = threading.Event()

    def run(self):
        while not self.over.is_set():
            try:
                c, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(c,), daemon=True).start()
            except OSError:
                return

    def serve(self, c):
        try:
            c.sendall(b'{"class":"VERSION","release":"3.22","rev":"3.22","proto_major":3,"proto_minor":14}\r\n')
            i = 0
            while not self.over.wait(0.25):
                i += 1
                c.sendall(b'{"class":"TPV","device":"/dev/gps0","mode":3,"time":"2026-11-22T23:30:%02d.000Z","lat":31.23%04d,"lon":121.4737,"altMSL":4.5,"speed":8.33,"track":92.5}\r\n' % (i % 60, i))
        except OSError:
            pass

    def stop(self):
        self.over.set()
        self.listener.close()


def test_record_gpsd_through_the_gateway(place):
    gpsd = FakeGpsd()
    gpsd.start()
    config = place.write('g.conf', '[gateway]\nid = bus-1\nstate_dir = %s\nduty_file =\n[device gnss]\ndriver = gpsd\nport = %d\ntrust_time = receiver\n' % (place.path('state'), gpsd.port))
    p = Program([PROGRAM, '--config', config], place.path('log'), env=ENV)
    wait_for('a fix', 15, lambda: p.alive() and json.loads(run('status', '--config', config, '--json')[1] or '{"gnss":{"mode":0}}')['gnss']['mode'] == 3)
    out = place.path('made.in')
    first = subprocess.Popen([PROGRAM, 'record', 'gnss', '--config', config, '--seconds', '3', '--out', out], env=ENV)
    wait_for('the recording to run', 10, lambda: 'records device gnss' in p.text())
    code, _, err = run('record', 'gnss', '--config', config, '--seconds', '1')
    assert code == 69 and 'a recording runs already' in err, (code, err)
    assert first.wait(20) == 0
    text = open(out, encoding='utf-8').read()
    assert text.count('"class":"TPV"') >= 8 and '# driver: gpsd' in text and '# end: 3' in text, text
    assert run('record', 'gnss', '--config', config, '--seconds', '1', '--out', out)[0] == 73, 'a file that is there is not overwritten'
    played = play(place, 'gpsd', out)
    assert played.count('fix ') >= 7, played
    assert p.stop() == 0
    gpsd.stop()


def test_record_counter_through_the_gateway(place):
    """A slave on a pseudo terminal: what was read stands in the recording, and the driver makes the same of it."""
    link = place.path('line')
    master, slave = pty.openpty()
    tty.setraw(master)
    tty.setraw(slave)
    os.symlink(os.ttyname(slave), link)
    memory = {0: 0, 1: 41, 2: 0, 3: 7}
    over = threading.Event()
    threading.Thread(target=modbus_slave, args=(master, memory, over), daemon=True).start()
    config = place.write('g.conf', '[gateway]\nid = bus-1\nstate_dir = %s\nduty_file =\n[device door]\ndriver = counter\nport = %s\nslave = 5\nmap = generic-counter\npoll_ms = 200\n'
                         % (place.path('state'), link))
    p = Program([PROGRAM, '--config', config], place.path('log'), env=ENV)
    wait_for('a count', 15, lambda: '"state":"ok"' in run('status', '--config', config, '--json')[1])
    out = place.path('made.in')
    recorder = subprocess.Popen([PROGRAM, 'record', 'door', '--config', config, '--seconds', '3', '--out', out], env=ENV)
    wait_for('the recording to run', 10, lambda: 'records device door' in p.text())
    time.sleep(1)
    memory[1] += 2
    assert recorder.wait(20) == 0
    text = open(out, encoding='utf-8').read()
    assert re.search(r'^\d+ word @5 0 .*\b41\b', text, re.M) and re.search(r'^\d+ word @5 0 .*\b43\b', text, re.M) and '# slave: 5' in text, text
    played = play(place, 'counter', out)
    assert 'count door' in played, played
    assert p.stop() == 0
    over.set()


def crc16(data):
    crc = 0xffff
    for b in data:
        crc ^= b
        for _ in range(8):
            crc = crc >> 1 ^ (0xa001 if crc & 1 else 0)
    return bytes((crc & 0xff, crc >> 8))


def modbus_slave(fd, memory, over):
    """Function 3 and 4 of one slave 5; RTU, requests of eight bytes."""
    have = b''
    while not over.is_set():
        try:
            have += os.read(fd, 64)
        except OSError:
            return
        while len(have) >= 8:
            ask_, have = have[:8], have[8:]
            if ask_[0] != 5 or crc16(ask_[:6]) != ask_[6:]:
                have = b''
                break
            at, n = ask_[2] << 8 | ask_[3], ask_[4] << 8 | ask_[5]
            if ask_[1] in (1, 2):
                body = bytes((5, ask_[1], (n + 7) // 8)) + bytes((n + 7) // 8)
            else:
                body = bytes((5, ask_[1], 2 * n)) + b''.join(memory.get(at + i, 0).to_bytes(2, 'big') for i in range(n))
            os.write(fd, body + crc16(body))


def test_record_camera_without_a_gateway(place):
    master, slave = pty.openpty()
    tty.setraw(master)
    tty.setraw(slave)
    config = place.write('g.conf', '[gateway]\nid = bus-1\nstate_dir = %s\nduty_file =\n[device dsm]\ndriver = camera\nport = %s\nunit = 0x65\n' % (place.path('state'), os.ttyname(slave)))
    out = place.path('made.in')
    recorder = subprocess.Popen([PROGRAM, 'record', 'dsm', '--config', config, '--seconds', '3', '--out', out], env=ENV)
    asked = os.read(master, 100)  # the driver is there and asks who we are
    assert asked[0] == 0x7e
    os.write(master, bytes.fromhex('7ee500011234653802000000007e'))
    os.write(master, bytes.fromhex('7e14000212346536000012670101070000000022000001dc89d1073d8aa526112307304504010100000000097e'))
    assert recorder.wait(20) == 0
    text = open(out, encoding='utf-8').read()
    assert re.search(r'^\d+ > .*36000012670101', text, re.M) and re.search(r'^# \d+ < 7e', text, re.M) and '# options: ' in text, text
    assert os.ttyname(slave) not in text
    assert 'camera dsm' in play(place, 'camera', out)
    code, _, err = run('record', 'nobody', '--config', config)
    assert code == 64 and 'dsm' in err


def doctor(*args, timeout=60):
    code, out, err = run('doctor', *args, '--json', timeout=timeout)
    assert not err, err
    lines = json.loads(out)
    assert code == max({'ok': 0, 'warn': 1, 'fail': 2}[x['mark']] for x in lines), (code, lines)
    return code, {x['what']: (x['mark'], x['text']) for x in lines}


def test_doctor_with_a_server(place):
    port = free_port()
    config = conf(place, 'bus-1', port, recording(place, 'ride', 10))
    code, said = doctor('--config', config)
    assert said['server port'][0] == 'fail' and 'Connection refused' in said['server port'][1] and code == 2, said
    server = WireServer(port, SECRET).start()
    code, said = doctor('--config', config)
    assert said['server name'][0] == said['server port'][0] == said['server secret'][0] == 'ok', said
    assert said['service'][0] == 'warn' and said['state_dir'][0] == 'ok', said
    hellos = len(server.hellos)
    g = start(place, 'bus-1', config)
    wait_for('hello', 10, lambda: len(server.hellos) > hellos)
    assert doctor('--config', config)[1]['service'][0] == 'ok'
    assert len(server.hellos) == hellos + 1, 'the doctor must not say hello in the place of the gateway'
    end(g)
    place.write('bus-1-secret', 'another-secret-0123456789abcdef\n', 0o600)
    code, said = doctor('--config', config)
    assert said['server secret' if 'server secret' in said else 'server upgrade'][0] == 'fail', said
    with open(place.path('bus-1-state', 'outbox.db'), 'r+b') as f:
        f.write(b'\xaa' * 200)
    os.remove(place.path('bus-1-secret'))
    code, said = doctor('--config', config)
    assert said['outbox'][0] == 'warn' and said['secret'][0] == 'fail', said
    server.stop()
    bad = place.write('bad.conf', '[gateway]\nid = x y\n')
    code, said = doctor('--config', bad)
    assert code == 2 and 'bad.conf:2: id' in said['configuration'][1], said


def test_doctor_and_lines(place):
    master, slave = pty.openpty()
    other = os.open(os.ttyname(slave), os.O_RDWR | os.O_NOCTTY)
    gpsd = FakeGpsd()
    gpsd.start()
    text = '[gateway]\nid = a\nstate_dir = %s\nduty_file =\n[device dsm]\ndriver = camera\nport = %s\n[device gnss]\ndriver = gpsd\nport = %d\n'
    config = place.write('g.conf', text % (place.path(''), os.ttyname(slave), gpsd.port))
    code, said = doctor('--config', config)
    assert said['device dsm'][0] == 'fail' and 'python' in said['device dsm'][1] and str(os.getpid()) in said['device dsm'][1], said
    assert said['device gnss'][0] == 'ok' and 'has a fix' in said['device gnss'][1], said
    os.close(other)
    gpsd.stop()
    config = place.write('g.conf', text % (place.path(''), place.path('none'), free_port()))
    code, out, _ = run('doctor', '--config', config, '--lang', 'zh')
    assert code == 2 and '适配器是否插好' in out and '没有 gpsd' in out, out


if __name__ == '__main__':
    import test_gateway_uplink
    test_gateway_uplink.run_all(globals())
