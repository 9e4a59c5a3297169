"""What the system tests share: programs started and stopped by PID, free ports below 32768, a server with a fleet, the HTTP API.

Nothing here waits for seconds where it can wait for a sign: a line of a log, a socket, an answer.
"""
import hashlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

SOURCE = os.environ.get('SCHOOLWARD_SOURCE') or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get('SCHOOLWARD_BIN') or os.path.join(SOURCE, 'build/release/bin')
SKIP = 77


def skip(why):
    print('skipped:', why)
    sys.exit(SKIP)


def data(*parts):
    """Path inside the real recordings, or the test is skipped."""
    root = os.environ.get('SCHOOLWARD_TEST_DATA')
    if not root:
        skip('SCHOOLWARD_TEST_DATA is not set')
    return os.path.join(root, *parts)


def need(program):
    path = shutil.which(program) or (os.path.join('/usr/sbin', program) if os.path.exists(os.path.join('/usr/sbin', program)) else None)
    if path is None:
        skip(program + ' is not installed')
    return path


_given = set()


def free_port():
    for _ in range(200):
        port = random.randint(20000, 31000)
        if port in _given:
            continue
        with socket.socket() as s:
            try:
                s.bind(('127.0.0.1', port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError('no free port between 20000 and 31000')


class Program:
    """A child with its output in a file."""
    all = []

    def __init__(self, args, log, stdin=None, env=None):
        self.log = log
        self.args = args
        with open(log, 'ab') as out:
            self.child = subprocess.Popen(args, stdin=stdin if stdin is not None else subprocess.DEVNULL, stdout=out, stderr=out,
                                          env=dict(os.environ, **(env or {})))
        Program.all.append(self)

    def alive(self):
        return self.child.poll() is None

    def text(self):
        with open(self.log, 'rb') as f:
            return f.read().decode('utf-8', 'replace')

    def wait_line(self, pattern, seconds=20, since=0):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            m = re.search(pattern, self.text()[since:])
            if m:
                return m
            if not self.alive():
                raise AssertionError('%s ended with %s before "%s":\n%s' % (self.args[0], self.child.returncode, pattern, self.text()[-3000:]))
            time.sleep(0.02)
        raise AssertionError('no "%s" from %s:\n%s' % (pattern, self.args[0], self.text()[-3000:]))

    def kill(self):
        """SIGKILL, as a power cut of the process."""
        if self.alive():
            self.child.kill()
        self.child.wait()

    def stop(self, seconds=15):
        """SIGTERM; returns the exit code."""
        if self.alive():
            self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise AssertionError('%s did not stop within %d s' % (self.args[0], seconds))


class Place:
    """A folder for one test, removed at the end when all went well; stops all programs."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix='schoolward-')
        os.chmod(self.dir, 0o755)
        return self

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def write(self, name, text, mode=0o644):
        path = self.path(name)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def __exit__(self, kind, value, trace):
        for p in Program.all:
            if p.alive():
                p.child.kill()
                p.child.wait()
        Program.all.clear()
        if kind is None or kind is SystemExit:
            shutil.rmtree(self.dir, ignore_errors=True)
        else:
            print('kept for looking at:', self.dir)


def wait_for(what, seconds, fn, pause=0.05):
    until = time.monotonic() + seconds
    last = None
    while time.monotonic() < until:
        last = fn()
        if last:
            return last
        time.sleep(pause)
    raise AssertionError('not within %g s: %s (last: %r)' % (seconds, what, last))


def wait_port(port, seconds=20):
    def there():
        with socket.socket() as s:
            s.settimeout(1)
            return s.connect_ex(('127.0.0.1', port)) == 0
    wait_for('a listener on port %d' % port, seconds, there)


SECRET = 'test-secret-0123456789abcdef0123456789'
OFFICER = 'officer-token-0123456789abcdef0123456789'
POLICE = 'police-token-0123456789abcdef01234567890'


def straight_line(lon=71.40, lat=51.10, points=200, step=0.0005):
    return [[round(lon + i * step, 7), lat] for i in range(points)]


def vehicle(name, gateway, routes=(), rated=40):
    return {'id': name, 'plate': '桂B' + name[-5:].upper().replace('-', '0'), 'gateway': gateway,
            'secret_sha256': hashlib.sha256(SECRET.encode()).hexdigest(), 'rated': {'total': rated, 'pupils': rated - 2}, 'size': 'large',
            'staff': 2, 'staff_uncounted': 2, 'routes': list(routes)}


def duty(vehicles, routes=()):
    return {'format': 'schoolward.duty.1', 'routes': list(routes), 'vehicles': list(vehicles), 'weather_orders': []}


def answer_of(request, timeout):
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as e:
        e.msg = '%s %s' % (request.full_url, e.read().decode('utf-8', 'replace')[:300])
        raise


class Server:
    """schoolward-server with its own state, started again at will on the same port."""

    def __init__(self, place, fleet, extra='', name='server'):
        self.place, self.name = place, name
        self.port = free_port()
        self.url = 'http://127.0.0.1:%d' % self.port
        state = place.path(name + '-state')
        os.makedirs(state, mode=0o700, exist_ok=True)
        self.state = state
        place.write(name + '-fleet.json', json.dumps(fleet))
        place.write(name + '-tokens', 'officer-one officer %s\npolice-one police %s\n' % (OFFICER, POLICE), 0o600)
        self.conf = place.write(name + '.conf', '''[server]
listen = 127.0.0.1:%d
public_url = %s
time_zone = Asia/Shanghai
state_dir = %s
duty_file = %s
law_file = %s
tokens_file = %s
%s
''' % (self.port, self.url, state, place.path(name + '-fleet.json'), os.path.join(SOURCE, 'core/law/cn-national.json'), place.path(name + '-tokens'), extra))
        self.program = None

    def start(self, env=None):
        self.program = Program([os.path.join(BIN, 'schoolward-server'), '--config', self.conf], self.place.path(self.name + '.log'), env=env)
        wait_for('the server to be ready', 30, self.ready)
        return self

    def ready(self):
        if not self.program.alive():
            raise AssertionError('the server ended:\n' + self.program.text()[-3000:])
        try:
            return self.get('/readyz')['status'] == 'ok'
        except (OSError, urllib.error.URLError, ValueError):
            return False

    def get(self, path, token=OFFICER, timeout=20):
        request = urllib.request.Request(self.url + path, headers={'Authorization': 'Bearer ' + token} if token else {})
        return answer_of(request, timeout)

    def post(self, path, body, token=OFFICER):
        request = urllib.request.Request(self.url + path, data=json.dumps(body).encode(), method='POST',
                                         headers={'Authorization': 'Bearer ' + token, 'Content-Type': 'application/json'})
        return answer_of(request, 20)

    def metrics(self):
        with urllib.request.urlopen(self.url + '/metrics', timeout=20) as answer:
            return answer.read().decode()

    def journal_rows(self):
        """(gateway, lane, seq) of every event in the journal, by the program's own reader."""
        out = subprocess.run([os.path.join(BIN, 'schoolward-server'), '--config', self.conf, '--dump-journal'], stdout=subprocess.PIPE, check=True).stdout
        return [json.loads(line) for line in out.splitlines()]


def gateway_conf(place, name, server_url, sections, duty_file='', extra=''):
    state = place.path(name + '-state')
    os.makedirs(state, mode=0o700, exist_ok=True)
    place.write(name + '-secret', SECRET + '\n', 0o600)
    return place.write(name + '.conf', '''[gateway]
id = %s
server = %s
secret_file = %s
state_dir = %s
law_file = %s
duty_file = %s
log_level = info

[uplink]
retry_min_ms = 20
retry_max_ms = 400
%s
%s
''' % (name, server_url.replace('http', 'ws') + '/gateway', place.path(name + '-secret'), state, os.path.join(SOURCE, 'core/law/cn-national.json'), duty_file,
       extra, sections))


class Gateway:
    def __init__(self, place, conf, name):
        self.place, self.conf, self.name = place, conf, name
        self.program = None

    def start(self, env=None):
        self.program = Program([os.path.join(BIN, 'schoolward-gateway'), '--config', self.conf], self.place.path(self.name + '.log'),
                               env=dict({'SCHOOLWARD_DEVICES': os.path.join(SOURCE, 'firmware-config/devices')}, **(env or {})))
        return self


def finish(passed):
    print('PASS' if passed else 'FAIL')
    sys.exit(0 if passed else 1)
