"""A server that speaks schoolward.v1 (docs/protocol.md 1), written against the document alone and with the standard library alone: what the gateway's
tests talk to where a real server is too well behaved. Every knob is an attribute; a knob that takes effect on connections is read at each message.
"""
import base64
import hashlib
import socket
import ssl
import struct
import threading
import time


def varint(v):
    out = bytearray()
    while v > 0x7f:
        out.append(v & 0x7f | 0x80)
        v >>= 7
    out.append(v)
    return bytes(out)


def field(number, value):
    if isinstance(value, (bytes, bytearray)):
        return varint(number << 3 | 2) + varint(len(value)) + bytes(value)
    return varint(number << 3) + varint(value)


def zigzag(v):
    return (v << 1) ^ (v >> 63)


def unzigzag(v):
    return (v >> 1) ^ -(v & 1)


def read_varint(data, at):
    shift = v = 0
    while True:
        b = data[at]
        at += 1
        v |= (b & 0x7f) << shift
        if b < 0x80:
            return v, at
        shift += 7


def fields(data):
    at, out = 0, {}
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 2:
            n, at = read_varint(data, at)
            v, at = data[at:at + n], at + n
        elif key & 7 == 0:
            v, at = read_varint(data, at)
        else:
            raise ValueError('wire type %d' % (key & 7))
        out.setdefault(key >> 3, []).append(v)
    return out


def packed(data):
    at, out = 0, []
    while at < len(data):
        v, at = read_varint(data, at)
        out.append(unzigzag(v))
    return out


FIX_NAMES = ('time_ms', 'lat_e7', 'lon_e7', 'speed', 'track', 'alt', 'hdop', 'used')


def undelta(rows):
    """Fixes as schoolward.proto describes Batch.fix."""
    out = []
    for i, r in enumerate(rows):
        if i == 0:
            out.append(list(r))
            continue
        p = out[-1]
        pp = out[-2] if i > 1 else None
        out.append([d + (2 * p[k] - pp[k] if pp is not None and k < 3 else p[k]) for k, d in enumerate(r)])
    return out


class Batch:
    def __init__(self, body):
        f = fields(body)
        self.lane = f.get(1, [0])[0]
        self.first = f.get(2, [0])[0]
        self.skipped = f.get(8, [0])[0]  # sequences right below that never come
        self.clock = f.get(6, [0])[0]
        self.backlog = bool(f.get(7, [0])[0])
        numbers = packed(f.get(4, [b''])[0])
        self.fixes = undelta([numbers[i:i + 8] for i in range(0, len(numbers), 8)])
        other = f.get(5, [])
        kinds = f.get(3, [b''])[0] or b'\x01' * len(self.fixes)
        fix, rest = iter(self.fixes), iter(other)
        self.events = [(k, tuple(next(fix)) if k == 1 else next(rest)) for k in kinds]
        self.last = self.first + len(self.events) - 1


class Settled:
    def __init__(self):
        self.ranges = []  # sorted closed, disjoint, apart

    def add(self, a, b):
        out = []
        for x, y in self.ranges:
            if y + 1 < a or b + 1 < x:
                out.append((x, y))
            else:
                a, b = min(a, x), max(b, y)
        self.ranges = sorted(out + [(a, b)])

    def through(self):
        return self.ranges[0][1] if self.ranges and self.ranges[0][0] == 1 else 0

    def above(self):
        return [r for r in self.ranges if r[0] > 1]

    def copy(self):
        s = Settled()
        s.ranges = list(self.ranges)
        return s


class Connection:
    def __init__(self, server, sock):
        self.server, self.sock = server, sock
        self.lock = threading.Lock()
        self.open = True
        self.deaf = False

    def handshake(self):
        data = b''
        while b'\r\n\r\n' not in data:
            got = self.sock.recv(4096)
            if not got:
                return False
            data += got
        head, self.rest = data.split(b'\r\n\r\n', 1)
        lines = head.decode().split('\r\n')
        self.path = lines[0].split()[1]
        self.headers = {k.lower(): v.strip() for k, v in (x.split(':', 1) for x in lines[1:])}
        if self.server.http_answer:
            self.sock.sendall(self.server.http_answer)
            return False
        if self.server.http_status:
            self.sock.sendall(b'HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n' % self.server.http_status)
            return False
        key = self.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
        self.sock.sendall(('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n'
                           'Sec-WebSocket-Protocol: schoolward.v1\r\n\r\n' % base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()).encode())
        return True

    def exactly(self, n):
        while len(self.rest) < n:
            got = self.sock.recv(65536)
            if not got:
                raise ConnectionError('closed')
            self.rest += got
        out, self.rest = self.rest[:n], self.rest[n:]
        return out

    def message(self):
        """One whole message: (opcode, payload)."""
        opcode, payload = None, b''
        while True:
            a, b = self.exactly(2)
            n = b & 0x7f
            if n == 126:
                n = struct.unpack('>H', self.exactly(2))[0]
            elif n == 127:
                n = struct.unpack('>Q', self.exactly(8))[0]
            mask = self.exactly(4) if b & 0x80 else b'\0\0\0\0'
            data = self.exactly(n)
            data = (int.from_bytes(data, 'little') ^ int.from_bytes((mask * (n // 4 + 1))[:n], 'little')).to_bytes(n, 'little') if n else b''
            if a & 0x0f >= 8:
                return a & 0x0f, data
            opcode = a & 0x0f or opcode
            payload += data
            if a & 0x80:
                return opcode, payload

    def send(self, payload, opcode=2):
        n = len(payload)
        head = bytes([0x80 | opcode]) + (bytes([n]) if n < 126 else b'\x7e' + struct.pack('>H', n))
        with self.lock:
            self.sock.sendall(head + payload)

    def close(self, code, reason=''):
        try:
            self.send(struct.pack('>H', code) + reason.encode(), 8)
            self.sock.settimeout(2)
            while self.sock.recv(4096):
                pass
        except OSError:
            pass
        self.drop()

    def drop(self):
        self.open = False
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    def ack_body(self, lane, settled):
        ranges = b''.join(field(3, field(1, a) + field(2, b)) for a, b in settled.above()[:64])
        return field(1, lane) + field(2, settled.through()) + ranges

    def run(self):
        s = self.server
        try:
            if not self.handshake():
                self.drop()
                return
            s.connections.append(self)
            if self.headers.get('authorization') != 'Bearer ' + s.secret:
                self.close(4401, 'unauthorised')
                return
            while self.open:
                opcode, payload = self.message()
                if opcode == 8:
                    s.closes.append(struct.unpack('>H', payload[:2])[0] if len(payload) >= 2 else 1005)
                    self.send(payload[:2], 8)
                    self.drop()
                    return
                if opcode == 9:
                    s.pings += 1
                    if not self.deaf:
                        self.send(payload, 10)
                elif opcode == 2 and not self.deaf:
                    self.take(fields(payload), len(payload))
        except (OSError, ConnectionError):
            pass
        finally:
            self.open = False
            s.ended += 1

    def take(self, frame, size):
        s = self.server
        if 2 in frame:
            hello = fields(frame[2][0])
            s.hellos.append({'gateway': hello[2][0].decode(), 'lanes': [{k: v[0] for k, v in fields(x).items()} for x in hello.get(7, [])],
                             'firmware': hello.get(4, [b''])[0].decode(), 'duty': hello.get(5, [b''])[0].decode()})
            for lane in s.hellos[-1]['lanes']:  # what the gateway no longer has will never come
                if lane.get(2, 0) > 1:
                    s.settled[lane.get(1, 0)].add(1, lane[2] - 1)
            if s.close_after_hello:
                self.close(*s.close_after_hello)
                return
            if s.mute:
                return
            body = field(1, s.version) + field(2, zigzag(int(time.time() * 1000))) + field(4, s.max_frame)
            body += b''.join(field(3, self.ack_body(i, s.settled[i])) for i in (0, 1))
            self.send(field(3, body))
        elif 1 in frame:
            self.batch(Batch(frame[1][0]), size)
        elif 8 in frame:
            if s.on_media:
                s.on_media(self, frame[8][0])
        elif 6 in frame:
            r = fields(frame[6][0])
            s.results.append((r.get(1, [0])[0], bool(r.get(2, [0])[0]), r.get(3, [b''])[0].decode()))

    def batch(self, b, size):
        s = self.server
        if s.max_accept and size > s.max_accept:
            self.close(1009, 'too big')
            return
        if s.poison is not None and (b.lane, s.poison) in [(b.lane, q) for q in range(b.first, b.last + 1)] and b.lane == s.poison_lane:
            self.close(4400, 'malformed: batch.fix')
            return
        with s.lock:
            s.batches.append((time.monotonic(), len(s.connections), b.lane, b.backlog, b.first, b.last))
            for i, event in enumerate(b.events):
                key = (b.lane, b.first + i)
                if key in s.records and s.records[key] != event:
                    s.conflicts.append((key, s.records[key], event))
                s.repeats += key in s.records
                s.records[key] = event
            if b.skipped:
                s.settled[b.lane].add(b.first - b.skipped, b.first - 1)
            s.unacked.append((b.lane, b.first, b.last, self))
        if s.on_batch:
            s.on_batch(self, b)
        if s.acking:
            s.ack_all()


class WireServer:
    def __init__(self, port, secret, cert=None):
        self.port, self.secret = port, secret
        self.lock = threading.RLock()
        self.connections, self.hellos, self.batches, self.unacked, self.results, self.closes = [], [], [], [], [], []
        self.records, self.conflicts = {}, []
        self.settled = [Settled(), Settled()]
        self.repeats = self.pings = self.ended = 0
        self.version, self.max_frame, self.max_accept = 1, 65536, 0
        self.acking, self.mute, self.http_status, self.http_answer = True, False, 0, b''
        self.close_after_hello = self.on_batch = self.on_media = self.poison = None
        self.poison_lane = 0
        self.tls = None
        if cert:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*cert)
        self.listener = None

    def start(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(('127.0.0.1', self.port))
        self.listener.listen(16)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()
        return self

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        if self.tls:
            try:
                sock = self.tls.wrap_socket(sock, server_side=True)
            except (OSError, ssl.SSLError):
                return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Connection(self, sock).run()

    def stop(self):
        """The power plug: connections end without a word."""
        if self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        for c in self.connections:
            if c.open:
                c.drop()

    def current(self):
        return next((c for c in reversed(self.connections) if c.open), None)

    def ack_all(self, choose=lambda lane, first, last: [(first, last)]):
        """Settle what waits (choose may take parts of it) and tell."""
        with self.lock:
            lanes = {}
            for lane, first, last, conn in self.unacked:
                for a, b in choose(lane, first, last):
                    self.settled[lane].add(a, b)
                lanes[lane] = conn
            self.unacked = []
            for lane, conn in lanes.items():
                if conn.open:
                    try:
                        conn.send(field(4, conn.ack_body(lane, self.settled[lane])))
                    except OSError:
                        pass

    def order(self, number, body):
        self.current().send(field(5, field(1, number) + body))

    def missing(self, lane):
        """Sequences of a lane that never came, below the newest."""
        have = sorted(q for l, q in self.records if l == lane)
        return [] if not have else sorted(set(range(have[0], have[-1] + 1)) - set(have))
