"""What the gateway costs: the real program with every kind of device on (ptys, TCP), a real gpsd before it, a real server behind it.

Prints key=value lines. The control is libgps alone, taking the very lines of gpsd apart that the gateway read (instructions counted by callgrind, in the same run).
Figures by the second hold for a bus that reports once a second.
"""
import math
import mmap
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import tty

SOURCE = os.environ.get('SCHOOLWARD_SOURCE') or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SOURCE, 'tests/system'))
from harness import BIN, Gateway, Place, Program, Server, duty, free_port, gateway_conf, need, straight_line, vehicle, wait_for, wait_port  # noqa: E402

BENCH = os.path.join(os.path.dirname(BIN), 'bench')
WARM_S, MEASURE_S = 40, 30  # the gateway hands pages back 30 s after its start
CALLGRIND_FIXES = int(os.environ.get('BENCH_FIXES', '60'))
FIX_HZ = 1


def sentence(body):
    check = 0
    for c in body.encode():
        check ^= c
    return '$%s*%02X\r\n' % (body, check)


def degrees(v, digits, pair):
    whole = int(abs(v))
    return '%0*d%07.4f,%s' % (digits, whole, (abs(v) - whole) * 60, pair[v < 0])


def epoch(t, lon, lat):
    """One second of a receiver: RMC, GGA, GSA, three GSV."""
    tm = time.gmtime(t)
    clock, date = time.strftime('%H%M%S.', tm) + '%03d' % (t * 1000 % 1000), time.strftime('%d%m%y', tm)
    place = degrees(lat, 2, 'NS') + ',' + degrees(lon, 3, 'EW')
    out = sentence('GNRMC,%s,A,%s,16.20,90.00,%s,,,A' % (clock, place, date))
    out += sentence('GNGGA,%s,%s,1,12,0.9,347.0,M,-30.0,M,,' % (clock, place))
    out += sentence('GNGSA,A,3,01,02,03,04,05,06,07,08,09,10,11,12,1.6,0.9,1.3')
    for i in range(3):
        sats = ','.join('%02d,%02d,%03d,%02d' % (1 + 4 * i + k, 20 + 5 * k, 30 * k, 35 + k) for k in range(4))
        out += sentence('GPGSV,3,%d,12,%s' % (i + 1, sats))
    return out.encode()


class Receiver:
    """A GNSS receiver on a pty, for a real gpsd."""

    def __init__(self, place):
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.at = 71.40
        self.link = os.ttyname(self.slave)
        os.chmod(self.link, 0o666)

    def say(self, t):
        self.at += 0.0000024 * 60
        os.write(self.master, epoch(t, self.at, 51.10))


def gpsd_for(place, name, device):
    port = free_port()
    gpsd = Program([need('gpsd'), '-N', '-n', '-b', '-S', str(port), device], place.path(name + '.log'))
    wait_port(port)
    return gpsd, port


def modbus_slave(place, port):
    """The counter and the inputs of a bus, one TCP unit each; the test of the cab has one that fits both."""
    from test_gateway_cab import Slave
    s = Slave(port)
    s.inputs[3] = 1
    return s


def devices(place, gpsd_port, slave_port, camera_port):
    maps = os.path.join(SOURCE, 'firmware-config/devices')
    text = '''[device gnss]
driver = gpsd
port = %d
[device io]
driver = inputs
port = tcp:127.0.0.1:%d
map = %s/generic-inputs.conf
[device counter]
driver = counter
port = tcp:127.0.0.1:%d
map = %s/generic-counter.conf
[device dsm]
driver = camera
port = tcp-listen:127.0.0.1:%d
model = %s/camera-jsatl12.conf
''' % (gpsd_port, slave_port, maps, slave_port, maps, camera_port, maps)
    return text


class CardLine:
    """A card reader and a stereo counter on ptys that are mostly quiet, where this build has drivers for them."""

    def __init__(self, place):
        self.master, slave = os.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)


def quiet_devices(place, drivers):
    text, lines = '', []
    key = place.write('card.key', '00' * 31 + '01\n', 0o600)
    for driver, extra in (('cards', 'key_file = %s' % key), ('hpc168', '')):
        if driver in drivers:
            line = CardLine(place)
            lines.append(line)
            text += '[device %s]\ndriver = %s\nport = %s\n%s\n' % (driver, driver, line.path, extra)
    return text, lines


def drivers_known():
    out = subprocess.run([os.path.join(BIN, 'schoolward-gateway'), '--check-config', '--config', '/dev/null', '--set', 'device.x.driver=?'], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True).stdout
    m = re.search(r'one of (.*)', out)
    return [w.strip() for w in m.group(1).split(',')] if m else []


def figures(gateway):
    """What SIGUSR1 makes the gateway write, as numbers."""
    before = len(gateway.program.text())
    gateway.program.child.send_signal(signal.SIGUSR1)
    gateway.program.wait_line(r'sent_bytes=\d+', since=before)
    return {k: int(v) for k, v in re.findall(r'(\w+)=(\d+)', gateway.program.text()[before:])}


def status_kib(pid, key):
    with open('/proc/%d/status' % pid) as f:
        return int(re.search(r'^%s:\s+(\d+)' % key, f.read(), re.M).group(1))


def written(pid):
    with open('/proc/%d/io' % pid) as f:
        return int(re.search(r'write_bytes: (\d+)', f.read()).group(1))


def say(key, value, form='%g'):
    print('%s=%s' % (key, form % value), flush=True)


class Feed:
    """Speaks once a second, on the second, until told to stop; the count of what was said."""

    def __init__(self, receiver, per_s):
        self.receiver, self.per_s, self.n = receiver, per_s, 0
        self.t = math.floor(time.time() * per_s) / per_s

    def run(self, seconds=None, fixes=None):
        end = time.monotonic() + seconds if seconds is not None else None
        stop = self.n + fixes if fixes is not None else None
        while (end is None or time.monotonic() < end) and (stop is None or self.n < stop):
            self.t += 1 / self.per_s
            pause = self.t - time.time()
            if pause > 0:
                time.sleep(pause)
            self.receiver.say(self.t)
            self.n += 1


def places(words):
    pairs = struct.unpack('500Q', words[16:16 + 4000])
    return {pairs[i]: pairs[i + 1] for i in range(0, 500, 2) if pairs[i]}


def real_time(place, server, fleet_line):
    """All drivers on, one fix a second: memory, system calls, bytes on the wire and on the disk, heap allocations."""
    receiver = Receiver(place)
    gpsd, gpsd_port = gpsd_for(place, 'gpsd', receiver.link)
    slave_port, camera_port = free_port(), free_port()
    modbus_slave(place, slave_port)
    drivers = drivers_known()
    quiet, keep = quiet_devices(place, drivers)
    conf = gateway_conf(place, 'bus-1', server.url, devices(place, gpsd_port, slave_port, camera_port) + quiet, duty_file=fleet_line)
    counter = place.path('allocations')
    with open(counter, 'wb') as f:
        f.write(bytes(4096))
    gateway = Gateway(place, conf, 'bus-1').start()
    gateway.program.wait_line('devices')
    wait_port(camera_port)
    camera = socket.create_connection(('127.0.0.1', camera_port))
    feed = Feed(receiver, 1)
    feed.run(seconds=WARM_S)
    pid = gateway.program.child.pid
    a, disk_a, n_a, t_a = figures(gateway), written(pid), feed.n, time.monotonic()
    feed.run(seconds=MEASURE_S)
    b, disk_b, fixes, took = figures(gateway), written(pid), feed.n - n_a, time.monotonic() - t_a
    say('drivers', len(drivers), '%d')
    say('rss_mib', status_kib(pid, 'VmRSS') / 1024, '%.2f')
    say('threads', status_kib(pid, 'Threads'), '%d')
    say('events_per_fix', (b['events'] - a['events']) / fixes, '%.2f')
    say('wire_bytes_per_fix', (b['sent_bytes'] - a['sent_bytes']) / fixes, '%.1f')
    say('disk_mb_per_day', (b['disk_bytes'] - a['disk_bytes']) / took * 86400 / 1e6, '%.1f')
    say('disk_mb_per_day_kernel', (disk_b - disk_a) / took * 86400 / 1e6, '%.1f')
    trace = place.path('strace')
    n_a = feed.n
    strace = subprocess.Popen([need('strace'), '-f', '-c', '-o', trace, '-p', str(pid)], stderr=subprocess.DEVNULL)
    feed.run(seconds=15)
    strace.send_signal(signal.SIGINT)
    strace.wait(20)
    with open(trace) as f:
        calls = int(re.findall(r'(\d+)(?:\s+\d+)? total', f.read())[0])
    say('syscalls_per_fix', calls / (feed.n - n_a), '%.0f')
    # a backlog: what a fix costs when it is sent with others
    server.program.stop()
    feed.run(seconds=20)
    a = figures(gateway)
    server.start()
    wait_for('the backlog to be sent', 60, lambda: figures(gateway).get('waiting', 1) == 0 or None, pause=1)
    b = figures(gateway)
    if b['sent'] > a['sent']:
        say('wire_bytes_per_event_batched', (b['sent_bytes'] - a['sent_bytes']) / (b['sent'] - a['sent']), '%.1f')
    gateway.program.stop()
    # allocations, in a run of its own: counting costs memory
    gateway = Gateway(place, conf, 'bus-1')
    gateway.program = Program([os.path.join(BIN, 'schoolward-gateway'), '--config', conf], place.path('bus-1-alloc.log'),
                              env={'LD_PRELOAD': os.path.join(BENCH, 'libcount_alloc.so'), 'COUNT_ALLOC': counter,
                                   'SCHOOLWARD_DEVICES': os.path.join(SOURCE, 'firmware-config/devices')})
    gateway.program.wait_line('devices')
    camera.close()
    wait_port(camera_port)
    camera = socket.create_connection(('127.0.0.1', camera_port))
    feed.run(seconds=15)
    with open(counter, 'rb') as f:
        words = mmap.mmap(f.fileno(), 4096, prot=mmap.PROT_READ)
    ours_a, theirs_a, n_a = *struct.unpack('QQ', words[:16]), feed.n
    places_a = places(words)
    feed.run(seconds=20)
    ours_b, theirs_b = struct.unpack('QQ', words[:16])
    say('allocations_per_fix', (ours_b - ours_a) / (feed.n - n_a), '%.2f')
    for at, n in sorted(places(words).items()):
        if n > places_a.get(at, 0):
            line = subprocess.run(['addr2line', '-s', '-f', '-e', os.path.join(BIN, 'schoolward-gateway'), hex(at - 1)], stdout=subprocess.PIPE, text=True).stdout.split()
            print('allocation_at=%s n=%d' % (' '.join(line), n - places_a.get(at, 0)))
    say('allocations_per_fix_libraries', (theirs_b - theirs_a) / (feed.n - n_a), '%.1f')
    gateway.program.stop()
    gpsd.stop()


class Tap:
    """Between gpsd and the gateway: keeps what gpsd said, for the control."""

    def __init__(self, place, gpsd_port):
        from test_real_gpsd import Relay
        self.relay = Relay(gpsd_port)
        self.relay.start()
        self.port = self.relay.port

    def lines(self):
        return [line for line in bytes(self.relay.said).split(b'\n') if line.startswith(b'{"class":"TPV"') or line.startswith(b'{"class":"SKY"')]


def dumped(folder):
    total = 0
    for name in os.listdir(folder):
        if not name.startswith('callgrind.out'):
            continue
        with open(os.path.join(folder, name), errors='replace') as f:
            for line in f:
                if line.startswith('summary:') or line.startswith('totals:'):
                    total = max(total, int(line.split()[1]))
    return total


def inclusive(folder, *functions):
    """Instructions of these functions and all they call, in the dump of the measured stretch."""
    out = subprocess.run(['callgrind_annotate', '--auto=no', '--inclusive=yes', '--threshold=100', os.path.join(folder, 'callgrind.out.1')],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=120).stdout
    return sum(max([int(m.replace(',', '')) for m in re.findall(r'([\d,]+) \([ \d.]+%%\)  \S*:%s ' % name, out)] or [0]) for name in functions)


def instructions(place, server, fleet_line):
    """User instructions per fix through a real gpsd, against libgps alone on the same lines."""
    receiver = Receiver(place)
    gpsd, gpsd_port = gpsd_for(place, 'gpsd-callgrind', receiver.link)
    tap = Tap(place, gpsd_port)
    conf = gateway_conf(place, 'bus-2', server.url, '[device gnss]\ndriver = gpsd\nport = %d\n' % tap.port, duty_file=fleet_line)
    out = place.path('callgrind')
    os.mkdir(out)
    gateway = Gateway(place, conf, 'bus-2')
    gateway.program = Program([need('valgrind'), '--tool=callgrind', '--callgrind-out-file=%s/callgrind.out' % out, os.path.join(BIN, 'schoolward-gateway'), '--config', conf],
                              place.path('bus-2.log'))
    gateway.program.wait_line('devices', seconds=60)
    wait_for('the gateway to be connected', 60, lambda: 'welcome' in gateway.program.text() or 'connected' in gateway.program.text())
    feed = Feed(receiver, FIX_HZ)
    feed.run(seconds=8)
    control = [shutil.which('callgrind_control')]
    pid = str(gateway.program.child.pid)
    time.sleep(2)
    a = figures(gateway)
    subprocess.run(control + ['-z', pid], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
    tap.relay.said.clear()
    feed.run(fixes=CALLGRIND_FIXES)
    time.sleep(3)
    subprocess.run(control + ['-d', pid], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
    b = figures(gateway)
    lines = tap.lines()
    spent = dumped(out)
    fixes = b['events'] - a['events']
    gateway.program.stop(60)
    gpsd.stop()
    if os.environ.get('BENCH_KEEP'):
        shutil.copytree(out, os.environ['BENCH_KEEP'], dirs_exist_ok=True)
    raw = place.path('gpsd-lines')
    with open(raw, 'wb') as f:
        f.write(b'\n'.join(lines) + b'\n')
    cost = []
    for times in (1, 2):  # the difference is free of the start
        folder = place.path('control-%d' % times)
        os.mkdir(folder)
        subprocess.run([need('valgrind'), '--tool=callgrind', '--callgrind-out-file=%s/callgrind.out' % folder, os.path.join(BENCH, 'control_gps_unpack'), raw, str(times)],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
        cost.append(dumped(folder))
    unpack = (cost[1] - cost[0]) / fixes
    say('fixes_counted', fixes, '%d')
    say('gpsd_lines_per_fix', len(lines) / fixes, '%.2f')
    say('instructions_per_fix', spent / fixes, '%.0f')  # all the process does in a second: ticks, timers and the disk thread too
    say('instructions_receive_and_judge_per_fix', inclusive(out, 'gpsd_input', 'gpsd_poll') / fixes, '%.0f')
    say('instructions_libgps_per_fix', inclusive(out, 'gps_unpack') / fixes, '%.0f')
    say('instructions_disk_per_fix', inclusive(out, 'disk_main') / fixes, '%.0f')
    say('control_unpack_instructions_per_fix', unpack, '%.0f')
    say('instructions_over_unpack', spent / fixes / unpack, '%.2f')


def main():
    for program in ('gpsd', 'valgrind', 'strace'):
        need(program)
    route = {'id': 'r1', 'name_zh': '一路', 'name_en': 'Route 1', 'rural': False, 'corridor_m': 60, 'line': straight_line(points=2000),
             'segments': [{'from_m': 0, 'to_m': 60000, 'posted_kmh': 40, 'road': 'city_one_lane'}], 'stops': [], 'runs': []}
    fleet = duty([vehicle('bus-1', 'bus-1', [{'route': 'r1'}]), vehicle('bus-2', 'bus-2', [{'route': 'r1'}])], [route])
    with Place() as place:
        import json
        server = Server(place, fleet).start()
        one = {k: v for k, v in fleet.items()}
        for bus in fleet['vehicles']:
            mine = dict(one, vehicles=[{k: v for k, v in bus.items() if k != 'secret_sha256'}])
            place.write(bus['id'] + '-duty.json', json.dumps(mine))
        if os.environ.get('BENCH_ONLY') != 'real':
            instructions(place, server, place.path('bus-2-duty.json'))
        if not os.environ.get('BENCH_KEEP'):
            real_time(place, server, place.path('bus-1-duty.json'))


if __name__ == '__main__':
    main()
