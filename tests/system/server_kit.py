"""What the server's system tests share: a server of their own on a free port, and a gateway spoken by hand (RFC 6455 and Protocol Buffers, stdlib only),
so that the program under test is checked by code that shares nothing with it. Not a test itself."""
import base64, hashlib, json, os, shutil, signal, socket, sqlite3, struct, subprocess, sys, tempfile, time, zlib

SECRET = "0123456789abcdef0123456789abcdef"
TOKEN = "officer-token-0123456789-0123456789"
POLICE = "police-token-0123456789-0123456789x"


def skip(why):
    print("skipped:", why)
    sys.exit(77)


def programs():
    path = os.environ.get("SCHOOLWARD_BIN")
    if not path or not os.path.exists(os.path.join(path, "schoolward-server")):
        skip("SCHOOLWARD_BIN has no schoolward-server")
    return path


def free_port(first=21000):
    port = first + os.getpid() % 5000
    while True:
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                port += 1


LINE = [[71.40, 51.10], [71.41, 51.10], [71.42, 51.10], [71.43, 51.105]]


def fleet(n):
    sha = hashlib.sha256(SECRET.encode()).hexdigest()
    return {
        "format": "schoolward.duty.1",
        "routes": [{
            "id": "r1", "name_zh": "一路", "name_en": "Route 1", "rural": False, "line": LINE,
            "segments": [{"from_m": 0, "to_m": 1500, "posted_kmh": 40, "road": "city_one_lane"}],
            "stops": [{"id": "s1", "name_zh": "小学", "name_en": "School", "lat": 51.10, "lon": 71.42, "offset_s": 300}],
            "runs": [{"id": "am", "start": "07:10:00"}]}],
        "vehicles": [{"id": f"bus-{i}", "plate": f"京A{i:05d}", "gateway": f"gw-{i}", "secret_sha256": sha, "rated": {"total": 40, "pupils": 38},
                      "size": "large", "staff": 2, "staff_uncounted": 1, "routes": [{"route": "r1"}]} for i in range(n)],
    }


class Server:
    def __init__(self, vehicles=4, **settings):
        self.dir = tempfile.mkdtemp(prefix="schoolward-server-")
        self.port = free_port()
        self.settings = settings
        self.process = None
        self.log_path = os.path.join(self.dir, "server.log")
        with open(os.path.join(self.dir, "fleet.json"), "w") as f:
            json.dump(fleet(vehicles), f)
        fd = os.open(os.path.join(self.dir, "tokens"), os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(fd, f"officer officer {TOKEN}\npolice police {POLICE}\n".encode())
        os.close(fd)
        self.law = os.path.join(os.environ.get("SCHOOLWARD_SOURCE", os.path.join(os.path.dirname(__file__), "../..")), "core/law/cn-national.json")
        self.state = os.path.join(self.dir, "state")

    def command(self, *extra):
        settings = {"server.listen": f"127.0.0.1:{self.port}", "server.state_dir": self.state, "server.duty_file": os.path.join(self.dir, "fleet.json"),
                    "server.law_file": self.law, "server.tokens_file": os.path.join(self.dir, "tokens")}
        settings.update({k.replace("__", "."): v for k, v in self.settings.items()})
        command = [os.path.join(programs(), "schoolward-server")]
        for k, v in settings.items():
            command += ["--set", f"{k}={v}"]
        return command + list(extra)

    def start(self):
        log = open(self.log_path, "ab")
        begin = log.tell()
        self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with open(self.log_path, "rb") as f:
                f.seek(begin)
                if b"listens on" in f.read():
                    return self
            if self.process.poll() is not None:
                break
            time.sleep(0.005)
        raise AssertionError("the server did not start:\n" + open(self.log_path).read())

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=20)

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        with open(self.log_path) as f:
            return f.read()

    def get(self, path, token=TOKEN, method="GET", body=None):
        """(status, text)"""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as s:
            data = b"" if body is None else body.encode()
            head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
            if body is not None or method == "POST":
                head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
            s.sendall(head.encode() + b"\r\n" + data)
            got = b""
            while True:
                more = s.recv(65536)
                if not more:
                    break
                got += more
        head, _, text = got.partition(b"\r\n\r\n")
        return int(head.split()[1]), text.decode()

    def journal(self):
        """Every (gateway, lane, seq) in the journal's groups, in order; read by our own eyes, the server is not running."""
        rows = []
        folder = os.path.join(self.state, "journal")
        for name in sorted(os.listdir(folder)):
            if not name.endswith(".db"):
                continue
            db = sqlite3.connect(os.path.join(folder, name))
            names = dict(db.execute("SELECT id, name FROM gateway"))
            for (blob,) in db.execute("SELECT blob FROM arrival ORDER BY id"):
                body, crc = blob[:-4], struct.unpack("<I", blob[-4:])[0]
                assert zlib.crc32(body) == crc, "a group's CRC is wrong"
                at = 0
                while at < len(body):
                    who, at = varint(body, at)
                    _, at = varint(body, at)
                    n, at = varint(body, at)
                    lane, first, events = batch_span(body[at:at + n])
                    assert lane == who & 1
                    rows += [(names[who >> 1], lane, first + i) for i in range(events)]
                    at += n
            db.close()
        return rows


# --- Protocol Buffers, by hand ---

def varint(b, at):
    v = shift = 0
    while True:
        c = b[at]
        at += 1
        v |= (c & 0x7f) << shift
        if c < 0x80:
            return v, at
        shift += 7


def put(v):
    out = bytearray()
    while True:
        out.append(v & 0x7f | (0x80 if v > 0x7f else 0))
        v >>= 7
        if not v:
            return bytes(out)


def zig(v):
    return put(v << 1 if v >= 0 else (-v << 1) - 1)


def number(field, v):
    return put(field << 3) + put(v) if v else b""


def block(field, b):
    return put(field << 3 | 2) + put(len(b)) + b


def fields(b):
    at = 0
    while at < len(b):
        key, at = varint(b, at)
        if key & 7 == 0:
            v, at = varint(b, at)
        else:
            assert key & 7 == 2, key
            n, at = varint(b, at)
            v = b[at:at + n]
            at += n
        yield key >> 3, v


def batch_span(frame):
    (field, body), = fields(frame)
    assert field == 1
    lane = first = numbers = others = 0
    for f, v in fields(body):
        if f == 1:
            lane = v
        elif f == 2:
            first = v
        elif f == 4:
            at = 0
            while at < len(v):
                _, at = varint(v, at)
                numbers += 1
        elif f == 5:
            others += 1
    return lane, first, numbers // 8 + others


def fix(i, ms):
    """lat lon speed track alt hdop sats-mode as they are on the wire, absolute"""
    return [ms, 511000000, 714000000 + (i % 10000) * 20, 8000 + 1, 9000 + 1, 3500 + 1, 9 + 1, 12 * 4 + 3]


def batch(first, n, lane=0, backlog=False, ms=None, start=None):
    ms = int(time.time() * 1000) if ms is None else ms
    rows = [fix(first + i if start is None else start + i, ms - (n - 1 - i) * 1000) for i in range(n)]
    out = b""
    for i, row in enumerate(rows):
        for c in range(8):
            if i == 0:
                v = row[c]
            elif i == 1 or c > 2:
                v = row[c] - rows[i - 1][c]
            else:
                v = row[c] - 2 * rows[i - 1][c] + rows[i - 2][c]
            out += zig(v)
    return block(1, number(1, lane) + number(2, first) + block(4, out) + number(7, int(backlog)))


def other(first, kind, body, ms=None, lane=0, backlog=False):
    ms = int(time.time() * 1000) if ms is None else ms
    return block(1, number(1, lane) + number(2, first) + block(3, bytes([kind])) + block(5, put(1 << 3) + zig(ms) + block(kind, body)) +
                 number(7, int(backlog)))


def hello(gateway, lanes=((0, 0), (0, 0)), version=1):
    body = number(1, version) + block(2, gateway.encode()) + block(3, b"boot-1") + block(4, b"0.0.0")
    for i, (first, last) in enumerate(lanes):
        body += block(7, number(1, i) + number(2, first) + number(3, last))
    return block(2, body + put(8 << 3) + zig(int(time.time() * 1000)))


class Ack:
    def __init__(self, b):
        self.lane, self.through, self.ranges = 0, 0, []
        for f, v in fields(b):
            if f == 1:
                self.lane = v
            elif f == 2:
                self.through = v
            else:
                r = dict(fields(v))
                self.ranges.append((r.get(1, 0), r.get(2, 0)))

    def settled(self):
        return set(range(1, self.through + 1)) | {s for a, b in self.ranges for s in range(a, b + 1)}


# --- WebSocket, by hand ---

class Closed(Exception):
    def __init__(self, code, reason):
        super().__init__(f"{code} {reason}")
        self.code, self.reason = code, reason


class Socket:
    def __init__(self, port, path, protocol, headers=(), buffer=None):
        self.s = socket.socket()
        self.s.settimeout(10)
        if buffer is not None:
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)  # before the connection: it decides the window
        self.s.connect(("127.0.0.1", port))
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n" \
               f"Sec-WebSocket-Version: 13\r\n"
        if protocol:
            head += f"Sec-WebSocket-Protocol: {protocol}\r\n"
        for k, v in headers:
            head += f"{k}: {v}\r\n"
        self.s.sendall(head.encode() + b"\r\n")
        self.rest = b""
        while b"\r\n\r\n" not in self.rest:
            more = self.s.recv(4096)
            if not more:
                raise Closed(0, "refused before the upgrade")
            self.rest += more
        answer, _, self.rest = self.rest.partition(b"\r\n\r\n")
        self.status = int(answer.split()[1])
        if self.status != 101:
            raise Closed(self.status, "no upgrade")
        want = base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        assert want in answer

    def send(self, payload, opcode=2, fin=True):
        mask = os.urandom(4)
        n = len(payload)
        head = bytes([(0x80 if fin else 0) | opcode])
        head += bytes([0x80 | n]) if n < 126 else bytes([0x80 | 126]) + struct.pack(">H", n) if n < 65536 else bytes([0x80 | 127]) + struct.pack(">Q", n)
        whole = (mask * (n // 4 + 1))[:n]
        self.s.sendall(head + mask + bytes(a ^ b for a, b in zip(payload, whole)))

    def need(self, n):
        while len(self.rest) < n:
            more = self.s.recv(65536)
            if not more:
                raise Closed(0, "connection lost")
            self.rest += more

    def receive(self, timeout=10):
        """One whole data message; pings are answered, a close raises Closed."""
        self.s.settimeout(timeout)
        message = b""
        while True:
            self.need(2)
            fin, opcode, n, at = self.rest[0] & 0x80, self.rest[0] & 15, self.rest[1] & 0x7f, 2
            if n == 126:
                self.need(4)
                n, at = struct.unpack(">H", self.rest[2:4])[0], 4
            elif n == 127:
                self.need(10)
                n, at = struct.unpack(">Q", self.rest[2:10])[0], 10
            self.need(at + n)
            payload, self.rest = self.rest[at:at + n], self.rest[at + n:]
            if opcode == 8:
                raise Closed(struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1005, payload[2:].decode())
            if opcode == 9:
                self.send(payload, 10)
                continue
            if opcode == 10:
                continue
            message += payload
            if fin:
                return message

    def close(self):
        self.s.close()


class Gateway(Socket):
    def __init__(self, server, name="gw-0", secret=SECRET, greet=True, lanes=((0, 0), (0, 0)), header_name=None, protocol="schoolward.v1", path="/gateway"):
        super().__init__(server.port, path, protocol,
                         (("Authorization", f"Bearer {secret}"), ("Schoolward-Gateway", header_name or name)))
        self.acked = [set(), set()]
        if greet:
            self.send(hello(name, lanes))
            self.welcome = [None, None]
            (kind, body), = fields(self.receive())
            assert kind == 3, kind
            for f, v in fields(body):
                if f == 3:
                    a = Ack(v)
                    self.welcome[a.lane] = a
                    self.acked[a.lane] = a.settled()

    def ack(self, timeout=10):
        (kind, body), = fields(self.receive(timeout))
        assert kind == 4, kind
        a = Ack(body)
        self.acked[a.lane] |= a.settled()
        return a

    def wait_acked(self, seq, lane=0, timeout=10):
        until = time.monotonic() + timeout
        while seq not in self.acked[lane]:
            self.ack(max(0.1, until - time.monotonic()))


def closes_with(code, begins, action):
    """The action, or reading after it, ends with this close code and reason."""
    try:
        g = action()
        while True:
            g.receive()
    except Closed as c:
        assert c.code == code and c.reason.startswith(begins), f"expected {code} {begins}..., got {c}"
        return c.reason
