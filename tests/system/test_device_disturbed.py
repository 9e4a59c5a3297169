"""Serial lines as a bus has them: noise, half frames, the wrong speed, a second talker, a cable that is pulled and put back. The real program with a pseudo
terminal for every kind of serial device. Every device understands again within one frame; an input module on its own undisturbed line is as fast as before.
Prints how many frames were lost after each disturbance, and the latency of the one-key alarm quiet and in the storm.
"""
import json
import os
import pty
import random
import re
import select
import sys
import threading
import time
import tty

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import SECRET, SOURCE, Gateway, Place, Program, duty, free_port, gateway_conf, vehicle, wait_for  # noqa: E402
from wireserver import WireServer, fields  # noqa: E402

COUNT, CAMERA, CARD = 2, 4, 8
random.seed(20261123)


class Line:
    """The device's end of a pseudo terminal; the gateway knows it by a link that survives a pulled cable."""

    def __init__(self, link):
        self.link, self.fd = link, -1
        self.lock = threading.Lock()
        self.plug()

    def plug(self):
        master, slave = pty.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        if os.path.lexists(self.link):
            os.unlink(self.link)
        os.symlink(os.ttyname(slave), self.link)
        os.close(slave)
        with self.lock:
            self.fd = master

    def pull(self):
        with self.lock:
            os.close(self.fd)
            self.fd = -1

    def put(self, data):
        with self.lock:
            try:
                if self.fd >= 0:
                    os.write(self.fd, data)
            except OSError:
                pass  # the gateway's end is not open, or nobody reads: as on a real line

    def get(self, seconds):
        with self.lock:
            fd = self.fd
        if fd < 0:
            time.sleep(seconds)
            return b''
        try:
            if select.select([fd], [], [], seconds)[0]:
                with self.lock:
                    return os.read(fd, 4096) if fd == self.fd else b''
        except (OSError, ValueError):
            time.sleep(0.01)  # hung up: the gateway's end is closed
        return b''


def crc16(b):
    c = 0xffff
    for x in b:
        c ^= x
        for _ in range(8):
            c = c >> 1 ^ 0xa001 if c & 1 else c >> 1
    return b + bytes([c & 255, c >> 8])


def xor(b):
    x = 0
    for v in b:
        x ^= v
    return x


def crc8(b):
    c = 0
    for x in b:
        c ^= x
        for _ in range(8):
            c = (c << 1 ^ 7) & 255 if c & 0x80 else c << 1
    return b + bytes([c])


class Device:
    """frame(): the next one, different each time. understood(): whether what only it can have told has arrived at the server."""
    polled = False

    def __init__(self, place, server, name):
        self.name, self.server, self.n = name, server, 0
        self.line = Line(place.path('tty-' + name))

    def events(self, body):
        with self.server.lock:
            rest = [raw for kind, raw in self.server.records.values() if kind != 1]
        return [fields(e[body][0]) for e in map(fields, rest) if body in e]

    def foreign(self):
        return self.frame_of(1)

    def send(self):
        self.n += 1
        self.line.put(self.frame_of(self.n))


class Counter(Device):
    door, step = 0, 1

    def understood(self):
        return any(c.get(2, [0])[0] == self.door and c.get(5, [0])[0] - 1 == self.n - self.base for c in self.events(COUNT))

    base = 0


class Hpc168(Counter):
    polled = True

    def __init__(self, *args):
        super().__init__(*args)
        self.answers = 0
        threading.Thread(target=self.serve, daemon=True).start()

    def frame(self, ident, cmd, data):
        body = bytes([0, ident, cmd, len(data)]) + data
        return b'\x02' + (body + bytes([sum(body) & 255])).hex().upper().encode() + b'\x03'

    def frame_of(self, n):
        return self.frame(1, 0x93, n.to_bytes(4, 'big') + bytes(12))

    def foreign(self):
        return self.frame(9, 0x93, (77777).to_bytes(4, 'big') + bytes(12))

    def serve(self):
        have = b''
        while True:
            have = (have + self.line.get(0.05))[-200:]
            if b'\x020001130014\x03' in have:
                have = b''
                self.answers += 1
                self.line.put(b'\x00' + self.frame_of(self.n))  # the byte of the turn of the line


class Modbus(Counter):
    polled, door = True, 1

    def __init__(self, *args):
        super().__init__(*args)
        self.answers = 0
        threading.Thread(target=self.serve, daemon=True).start()

    def frame_of(self, n):
        return crc16(bytes([1, 4, 8]) + n.to_bytes(4, 'big') + bytes(4))

    def foreign(self):
        return crc16(bytes([9, 4, 8]) + (77777).to_bytes(4, 'big') + bytes(4))

    def serve(self):
        have = b''
        want = crc16(bytes([1, 4, 0, 0, 0, 4]))
        while True:
            have = (have + self.line.get(0.05))[-64:]
            if want in have:
                have = b''
                self.answers += 1
                self.line.put(self.frame_of(self.n))


class People(Counter):
    door = 2

    def frame_of(self, n):
        return crc8(b'PC\0\0\0\1' + n.to_bytes(4, 'big') + n.to_bytes(2, 'big') + bytes(2))

    def foreign(self):
        return crc8(b'DD\x07\xd0\x07\x6c')


class Interval(Counter):
    door = 3

    def frame_of(self, n):
        t = '2611230%d%02d%02d' % (1 + n // 3600, n // 60 % 60, n % 60)
        body = bytes.fromhex(t + t) + (1).to_bytes(2, 'big') + bytes(2)
        raw = bytes.fromhex('10050010013912345678') + n.to_bytes(2, 'big') + body
        raw += bytes([xor(raw)])
        return b'\x7e' + raw.replace(b'\x7d', b'\x7d\x01').replace(b'\x7e', b'\x7d\x02') + b'\x7e'

    def foreign(self):
        raw = bytes.fromhex('8001000501391234567800010001100500')
        return b'\x7e' + raw + bytes([xor(raw)]) + b'\x7e'

    def understood(self):  # every frame is one more; lost ones are missing for ever
        return any(c.get(2, [0])[0] == self.door and c.get(5, [0])[0] - 1 > self.seen for c in self.events(COUNT))

    def mark(self):
        self.seen = max([c.get(5, [0])[0] - 1 for c in self.events(COUNT) if c.get(2, [0])[0] == self.door], default=0)


class Cards(Device):
    def number(self, n):
        return 0x00C50000 + n

    def frame_of(self, n):
        b = b'\x45' + self.number(n).to_bytes(4, 'big')
        return b'\x02' + (b + bytes([xor(b)])).hex().upper().encode() + b'\x03'

    def foreign(self):
        return self.frame_of(self.n)[:9] + self.frame_of(self.n)  # another reader begins in the middle: the same card, a repeat

    def mark(self):
        self.seen = len(self.events(CARD))

    def understood(self):
        return len(self.events(CARD)) > self.seen


class Camera(Device):
    def frame_of(self, n):
        data = n.to_bytes(4, 'big') + bytes.fromhex('0101070000000022000001dc89d1073d8aa52611230730450401') + bytes.fromhex('0000000009')
        return self.wrap(0x65, data, n)

    def wrap(self, unit, data, n):
        rest = bytes([0x12, 0x34, unit, 0x36]) + data
        raw = bytes([sum(rest) & 255]) + n.to_bytes(2, 'big') + rest
        return b'\x7e' + raw.replace(b'\x7d', b'\x7d\x01').replace(b'\x7e', b'\x7d\x02') + b'\x7e'

    def foreign(self):
        return self.wrap(0x67, bytes(40), 5)

    def understood(self):
        return any(c.get(1, [0])[0] == self.n for c in self.events(CAMERA))


class Io(threading.Thread):
    """A Modbus RTU input module on its own line: nine inputs, two coils."""

    def __init__(self, place):
        super().__init__(daemon=True)
        self.line = Line(place.path('tty-io'))
        self.inputs = [0] * 9
        self.writes = []

    def run(self):
        have = b''
        while True:
            have += self.line.get(0.05)
            while len(have) >= 8:
                q, have = have[:8], have[8:]
                if crc16(q[:6]) != q:
                    have = b''
                elif q[1] == 2:
                    bits = sum(b << i for i, b in enumerate(self.inputs))
                    self.line.put(crc16(bytes([1, 2, 2]) + bits.to_bytes(2, 'little')))
                elif q[1] == 5:
                    self.writes.append((time.monotonic(), q[3], q[4] == 0xff))
                    self.line.put(q)

    def since(self, t, coil, value):
        return next((w[0] for w in list(self.writes) if w[0] >= t and w[1] == coil and w[2] == value), None)

    def alarm_ms(self):
        t = time.monotonic()
        self.inputs[5] = 1
        wait_for('the lamp', 10, lambda: self.since(t, 1, True), 0.002)
        took = (self.since(t, 1, True) - t) * 1000
        t = time.monotonic()
        self.inputs[5] = 0
        wait_for('the lamp off', 30, lambda: self.since(t, 1, False), 0.01)
        return took


def noise(d):
    d.line.put(bytes(random.randrange(256) for _ in range(random.randrange(5, 120))))


def half(d):
    f = d.frame_of(d.n + 1000)
    d.line.put(f[:random.randrange(1, len(f) - 1)])


def wrong_speed(d):
    """What a receiver at another speed makes of frames: bits of one byte spread over two."""
    bits = ''.join('0' + bin(b)[2:].zfill(8)[::-1] + '1' for b in d.frame_of(d.n + 2000))
    bits = ''.join(b * 2 for b in bits)
    d.line.put(bytes(int(bits[i:i + 8][::-1], 2) for i in range(0, len(bits) - 8, 10)))


def second_talker(d):
    d.line.put(d.foreign())
    f = d.foreign()
    d.line.put(f[:len(f) // 2])


def pulled(d):
    d.line.pull()
    time.sleep(0.3)
    d.line.plug()


def resync(d, disturb):
    """Frames until one is understood, counting those that were lost before it."""
    if hasattr(d, 'mark'):
        d.mark()
    for _ in range(3):
        disturb(d)
    if disturb is pulled:  # the gateway opens the line again after a pause of at most a second at first, doubling with each pull
        wait_for('%s to be opened again' % d.name, 60, lambda: opened(d))
        if d.name in ('reader', 'interval'):  # they have nothing to say, and are well all the same
            wait_for('%s to be told well' % d.name, 10, lambda: re.findall(r'\b%s: (line lost|works)' % d.name, d.log())[-1] == 'works')
    if d.polled:
        d.n += 1
        first = d.answers
        wait_for('%s understood after %s' % (d.name, disturb.__name__), 60, d.understood, 0.01)
        return max(0, d.answers - first - 2)  # the one whose totals arrived, and one more while they travelled
    for lost in range(20):
        d.send()
        until = time.monotonic() + (0.6 if lost < 3 else 3)
        while time.monotonic() < until:
            if d.understood():
                return lost
            time.sleep(0.01)
    raise AssertionError('%s is not understood after %s' % (d.name, disturb.__name__))


def opened(d):
    """Somebody has the other end open: the kernel hangs the line up otherwise."""
    with d.line.lock:
        p = select.poll()
        p.register(d.line.fd, select.POLLOUT)
        return not any(e & select.POLLHUP for _, e in p.poll(0))


def main():
    bus = vehicle('bus-1', 'bus-1', rated=40)
    del bus['secret_sha256']
    with Place() as place:
        port = free_port()
        server = WireServer(port, SECRET).start()
        io = Io(place)
        io.start()
        devices = [Hpc168(place, server, 'hpc'), Modbus(place, server, 'counter'), People(place, server, 'people'), Interval(place, server, 'interval'),
                   Cards(place, server, 'reader'), Camera(place, server, 'dsm')]
        with open(os.path.join(SOURCE, 'firmware-config/devices/generic-inputs.conf'), encoding='utf-8') as f:
            inputs = place.write('inputs.conf', re.sub(r'latch_s = \d+', 'latch_s = 1', f.read()))
        place.write('counter.conf', '[counter]\nmodel = one door\nfunction = 4\n[door 1]\nin = 0\nout = 2\n')
        place.write('cards.key', os.urandom(32).hex() + '\n', 0o600)
        conf = gateway_conf(place, 'bus-1', 'http://127.0.0.1:%d' % port, '''[outbox]
group_ms = 100
[device io]
driver = inputs
port = {0}/tty-io
map = {1}
poll_ms = 20
timeout_ms = 200
[device hpc]
driver = hpc168
port = {0}/tty-hpc
poll_ms = 200
timeout_ms = 150
[device counter]
driver = counter
port = {0}/tty-counter
map = {0}/counter.conf
poll_ms = 200
timeout_ms = 150
[device people]
driver = people-uart
port = {0}/tty-people
door = 2
[device interval]
driver = interval-counter
port = {0}/tty-interval
door = 3
[device reader]
driver = cards
port = {0}/tty-reader
key_file = {0}/cards.key
[device dsm]
driver = camera
port = {0}/tty-dsm
'''.format(place.dir, inputs), duty_file=place.write('duty.json', json.dumps(duty([bus]))))
        g = Gateway(place, conf, 'bus-1').start()
        g.program.wait_line('duty: .*version')
        for d in devices:
            d.log = g.program.text
            wait_for(d.name + ' to be open', 20, lambda d=d: opened(d))
        for name in ('reader', 'interval'):
            g.program.wait_line(r'\b%s: works' % name)
        wait_for('the lamp to be told', 10, lambda: any(w[1] == 1 for w in io.writes))
        for d in devices:  # the base of the totals
            if hasattr(d, 'mark'):
                d.mark()
            if not d.polled:
                d.send()
            if isinstance(d, Counter):
                d.base = d.n
            wait_for(d.name + ' to be understood', 20, d.understood)

        quiet = [io.alarm_ms() for _ in range(8)]

        worst = {}
        for disturb in (noise, half, wrong_speed, second_talker):
            for d in devices:
                lost = resync(d, disturb)
                worst[d.name] = max(worst.get(d.name, 0), lost)
                print('%-14s %-9s lost %d' % (disturb.__name__, d.name, lost))
                assert lost <= 1, '%s lost %d frames after %s' % (d.name, lost, disturb.__name__)

        # the storm: all of it on all lines at once, while somebody presses the one-key alarm
        stop = threading.Event()

        def storm():
            while not stop.is_set():
                for d in devices:
                    random.choice((noise, half, wrong_speed, second_talker))(d)
                time.sleep(0.01)

        def pulls():
            while not stop.wait(0.7):
                pulled(random.choice(devices))
        threads = [threading.Thread(target=storm), threading.Thread(target=pulls)]
        for t in threads:
            t.start()
        stormy = [io.alarm_ms() for _ in range(8)]
        stop.set()
        for t in threads:
            t.join()
        print('resync: frames lost at worst: %s' % ', '.join('%s %d' % (k, v) for k, v in worst.items()))
        print('sos_to_lamp_ms: quiet %.0f (worst %.0f), in the storm %.0f (worst %.0f)' % (sum(quiet) / 8, max(quiet), sum(stormy) / 8, max(stormy)))
        assert sum(stormy) / 8 < sum(quiet) / 8 + 60 and max(stormy) < max(quiet) + 250, 'the storm on other lines delays the one-key alarm'

        for d in devices:
            lost = resync(d, pulled)
            print('%-14s %-9s lost %d' % ('pulled', d.name, lost))
            assert lost <= 1

        with open('/proc/%d/status' % g.program.child.pid, encoding='ascii') as f:
            rss = int(re.search(r'VmRSS:\s+(\d+) kB', f.read()).group(1))
        print('rss_mib=%.1f with seven kinds of device' % (rss / 1024))
        text = g.program.text()
        assert g.program.stop() == 0
        for n in range(1, devices[4].n + 1):  # the card's number is in no line of the log and in no file
            number = '%08X' % devices[4].number(n)
            assert number not in text.upper(), 'a card number in the log'
        with open(place.path('bus-1-state', 'outbox.db'), 'rb') as f:
            stored = f.read()
        assert devices[4].number(1).to_bytes(4, 'big') + b'\0' not in stored and b'%08X' % devices[4].number(1) not in stored
        server.stop()
    sys.exit(0)


if __name__ == '__main__':
    try:
        main()
    finally:
        for p in Program.all:
            if p.alive():
                p.child.kill()
