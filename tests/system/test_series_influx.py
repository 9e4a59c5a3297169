"""The projection into a real influxd 1.6.7: whatever happens to either of the two, every event the server acknowledged is one point there, and none is two.
Counts are taken from InfluxDB itself and compared with the journal, read by eyes of their own (server_kit)."""
import json, os, random, shutil, signal, subprocess, sys, tempfile, time, urllib.error, urllib.parse, urllib.request

import server_kit
from server_kit import Gateway, Server, batch, block, free_port, put, other, zig

CONFIG = """reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{dir}/meta"
[data]
  dir = "{dir}/data"
  wal-dir = "{dir}/wal"
  index-version = "tsi1"
  query-log-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  auth-enabled = {auth}
  log-enabled = false
[ifql]
  enabled = false
[monitor]
  store-enabled = false
"""


def wait_for(what, seconds, check):
    until = time.monotonic() + seconds
    while True:
        got = check()
        if got:
            return got
        if time.monotonic() > until:
            raise AssertionError(f"after {seconds} s: {what}")
        time.sleep(0.02)


class Influx:
    def __init__(self, auth=False):
        self.dir = tempfile.mkdtemp(prefix="schoolward-influx-")
        self.rpc, self.port = free_port(14000), free_port(18000)
        self.auth, self.process, self.user = auth, None, None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        path = os.path.join(self.dir, "influxdb.conf")
        with open(path, "w") as f:
            f.write(CONFIG.format(rpc=self.rpc, port=self.port, dir=self.dir, auth=str(self.auth).lower()))
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.process = subprocess.Popen(["influxd", "-config", path], stdout=log, stderr=log)
        wait_for("influxd answers", 30, self.answers)
        return self

    def answers(self):
        assert self.process.poll() is None, open(os.path.join(self.dir, "log")).read()[-2000:]
        try:
            return urllib.request.urlopen(self.url + "/ping", timeout=2).status == 204
        except OSError:
            return False

    def query(self, q, db="schoolward"):
        args = {"q": q, "db": db, "epoch": "ms"}
        who = "?" + urllib.parse.urlencode({"u": self.user[0], "p": self.user[1]}) if self.user else ""  # in the address: influxd does not look into the form
        with urllib.request.urlopen(self.url + "/query" + who, urllib.parse.urlencode(args).encode(), timeout=60) as answer:
            result = json.load(answer)["results"][0]
        assert "error" not in result, result
        return result.get("series", [])

    def write(self, line, db="schoolward"):
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/write?db={db}", line.encode()), timeout=10)

    def count(self, measurement="fix"):
        series = self.query(f'SELECT COUNT(seq) FROM "{measurement}"')
        return series[0]["values"][0][1] if series else 0

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def end(self):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


class Bus:
    """A gateway that keeps what is not acknowledged, as a real one does, and sends it again after any break."""

    def __init__(self, server, index, start_ms):
        self.server, self.name, self.start_ms = server, f"gw-{index}", start_ms
        self.socket, self.acked, self.next = None, 0, 1

    def connect(self):
        self.socket = Gateway(self.server, self.name)
        settled = self.socket.welcome[0].through if self.socket.welcome[0] else 0
        self.acked = max(self.acked, settled)
        self.next = self.acked + 1

    def drive(self, to, chunk=200):
        """Until sequence `to` is acknowledged; survives what breaks on the way as long as the server comes back."""
        while self.acked < to:
            try:
                if self.socket is None:
                    self.connect()
                while self.next <= to:
                    n = min(chunk, to - self.next + 1)
                    self.socket.send(batch(self.next, n, backlog=True, ms=self.start_ms + (self.next + n - 1) * 1000))
                    self.next += n
                while self.acked < to:
                    ack = self.socket.ack(10)
                    if ack.lane == 0:
                        self.acked = max(self.acked, ack.through)
            except (OSError, server_kit.Closed):
                self.socket = None
                time.sleep(0.05)


START_MS = (int(time.time()) - 3 * 86400) * 1000  # three days ago: no fix lies in the future, however many there are


def new_server(influx, **more):
    settings = {"ingest__rate_per_s": "100000", "ingest__bytes_per_s": "1000000000", "series__api": "v1", "series__url": influx.url, "series__flush_ms": "200"}
    settings.update(more)
    return Server(4, **settings)


def same(influx, server, what, measurement="fix"):
    """One point for each row of the journal, and the very same ones."""
    rows = server.journal()
    assert len(rows) == len(set(rows)), "the journal has doubles"
    for i in range(4):
        want = sorted(seq for gateway, lane, seq in rows if gateway == f"gw-{i}" and lane == 0)
        series = influx.query(f"SELECT seq FROM \"{measurement}\" WHERE vehicle = 'bus-{i}'")
        got = sorted(v[1] for v in series[0]["values"]) if series else []
        assert got == want, f"{what}: bus-{i}: {len(got)} points for {len(want)} rows"
    return len(rows)


def metric(server, name):
    _, text = server.get("/metrics")
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        key, _, value = line.rpartition(" ")
        if key.endswith(name):
            return float(value)
    return None


def findings(influx):
    series = influx.query("SELECT COUNT(id) FROM finding")
    return series[0]["values"][0][1] if series else 0


def test_up(influx):
    influx.query("CREATE DATABASE schoolward")
    server = new_server(influx).start()
    try:
        buses = [Bus(server, i, START_MS) for i in range(4)]
        for b in buses:
            b.drive(3000)
        buses[0].socket.send(other(3001, 3, put(1 << 3) + put(0b1001) + put(2 << 3) + put(0b1111)))
        wait_for("the points arrive", 30, lambda: influx.count() == 12000)
        # the one-key alarm: a finding, opened and closed, is one point; and a new start projects it again as the same one
        for seq, state in ((1, 0b101000), (2, 0b001000)):
            buses[1].socket.send(other(seq, 3, put(1 << 3) + put(state) + put(2 << 3) + put(0b101111), lane=1))
            wait_for("the alarm", 20, lambda: findings(influx) == len(json.loads(server.get("/api/v1/findings")[1])["findings"]) == 1)
        server.stop()
        server.start()
        wait_for("lag 0", 20, lambda: metric(server, "series_points_total") >= 1 and metric(server, "series_lag_seconds") == 0)
        assert findings(influx) == 1
        alarm = influx.query("SELECT * FROM finding")[0]
        alarm = dict(zip(alarm["columns"], alarm["values"][0]))
        listed = json.loads(server.get("/api/v1/findings")[1])["findings"][0]
        assert (alarm["id"], alarm["rule"], alarm["vehicle"], alarm["severity"], alarm["time"]) == \
            (listed["id"], listed["rule"], listed["vehicle"], listed["severity"], listed["opened_ms"]), (alarm, listed)
        server.stop()
        rows = server.journal()
        assert len([r for r in rows if r[1] == 0 and r[2] <= 3000]) == 12000
        one = influx.query(f"SELECT * FROM fix WHERE vehicle = 'bus-1' AND time = {START_MS + 7000}ms")[0]
        point = dict(zip(one["columns"], one["values"][0]))
        assert point["lat"] == 51.1 and abs(point["lon"] - (71.4 + 7 * 20e-7)) < 1e-9 and point["speed_mps"] == 8 and point["seq"] == 7, point
        assert point["route"] == "r1" and point["track_deg"] == 90 and point["satellites"] == 12 and point["mode"] == 3 and point["late"] is True, point
        keys = {v[0]: v[1] for v in influx.query("SHOW FIELD KEYS FROM fix")[0]["values"]}
        assert keys == {"lat": "float", "lon": "float", "speed_mps": "float", "track_deg": "float", "alt_m": "float", "hdop": "float", "satellites": "integer",
                        "mode": "integer", "seq": "integer", "late": "boolean"}, keys
        print(f"up: 12000 fixes, fields {len(keys)}, one point looked at; one finding of rule {alarm['rule']}, one point")
    finally:
        server.end()


def test_down_then_up(influx):
    server = new_server(influx).start()  # nothing listens there
    try:
        buses = [Bus(server, i, START_MS) for i in range(4)]
        begin = time.monotonic()
        for b in buses:
            b.drive(20000, 500)
        took = time.monotonic() - begin
        assert server.get("/healthz")[0] == 200
        wait_for("series_down", 10, lambda: metric(server, "series_down") == 1)
        lag = metric(server, "series_lag_seconds")
        server.stop()
        server.start()  # and a restart in between
        influx.start()
        influx.query("CREATE DATABASE schoolward")
        begin = time.monotonic()
        wait_for("the first points", 90, lambda: influx.count() > 0)
        first, begin = influx.count(), time.monotonic()
        wait_for("every point", 120, lambda: influx.count() == 80000)
        rate = (80000 - first) / max(time.monotonic() - begin, 1e-9)
        wait_for("lag 0", 10, lambda: metric(server, "series_lag_seconds") == 0)
        assert metric(server, "series_down") == 0 and metric(server, "series_rejected_total") == 0
        server.stop()
        n = same(influx, server, "down, then up")
        print(f"down for the whole run, then up: {n} rows, {n} points; server took them in {took:.1f} s meanwhile (lag shown {lag:.0f} s)")
        print(f"backlog into influxd: first look {first} points, then {rate:.0f} points/s (as far as counting shows)")
    finally:
        server.end()


def test_killed(influx):
    cycles = int(os.environ.get("SCHOOLWARD_CYCLES", "20"))
    influx.query("DROP DATABASE schoolward")
    influx.query("CREATE DATABASE schoolward")
    server = new_server(influx).start()
    seed = int(os.environ.get("SCHOOLWARD_SEED", "20261123"))
    dice = random.Random(seed)
    try:
        buses = [Bus(server, i, START_MS) for i in range(4)]
        for cycle in range(1, cycles + 1):
            for b in buses:
                b.drive(cycle * 200, 50)
            time.sleep(dice.uniform(0, 0.5))
            if dice.random() < 0.7:
                server.kill()
                server.start()
            if dice.random() < 0.5:
                influx.kill()
                influx.start()
        total = cycles * 200 * 4
        wait_for("every point", 120, lambda: influx.count() == total)
        server.stop()
        assert same(influx, server, "killed") == total
        print(f"kill -9 of server and influxd, {cycles} cycles (seed {seed}): {total} rows, {total} points")
    finally:
        server.end()


def test_refused():
    """No database, then no right to write, then a wrong type: each is said, nothing stops, nothing good is lost."""
    influx = Influx(auth=True).start()
    password = os.path.join(influx.dir, "password")
    fd = os.open(password, os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(fd, b"pass word\n")
    os.close(fd)
    server = new_server(influx).start()
    try:
        influx.query("CREATE USER admin WITH PASSWORD 'root' WITH ALL PRIVILEGES")
        influx.user = ("admin", "root")
        Bus(server, 0, START_MS).drive(1000)
        wait_for("a word about authorisation", 20, lambda: "check series.user and series.password" in server.log())
        server.stop()
        server.settings.update(series__user="bus", series__password_file=password)
        influx.query("CREATE USER bus WITH PASSWORD 'pass word'")
        server.start()
        wait_for("a word about rights or the database", 20, lambda: server.log().count("cannot write to") >= 2)
        influx.query("CREATE DATABASE schoolward")
        influx.query("GRANT WRITE ON schoolward TO bus")
        wait_for("the points", 60, lambda: influx.count() == 1000)  # without a restart
        server.stop()
        # a retention policy that is not there
        server.settings.update(series__retention="two_years")
        server.start()
        wait_for("a word about the retention policy", 20, lambda: "CREATE RETENTION POLICY" in server.log())
        influx.query('CREATE RETENTION POLICY two_years ON schoolward DURATION 104w REPLICATION 1')
        wait_for("the points again, under the new policy", 60, lambda: influx.query('SELECT COUNT(seq) FROM "two_years".fix'))
        server.stop()
        print("no user, no right, no database, no retention policy: each said with what to do, 1000 of 1000 points arrive each time")
    finally:
        server.end()
        influx.end()


def test_rejected(influx):
    """A field that another program wrote with another type: that point goes to the dead-letter file, the 800 fixes of the same request are stored."""
    influx.query("DROP DATABASE schoolward")
    influx.query("CREATE DATABASE schoolward")
    now = int(time.time() * 1000)
    influx.write(f"input,vehicle=bus-0 door_front=\"open\" {(now - 1000) * 1000000}")
    server = new_server(influx, series__flush_ms="2000").start()
    try:
        bus = Bus(server, 0, START_MS)
        bus.drive(400)
        bus.socket.send(other(401, 3, put(1 << 3) + put(0b1001) + put(2 << 3) + put(0b1111), ms=now))
        bus.next, bus.acked = 402, 401
        bus.drive(801)
        wait_for("the fixes", 30, lambda: influx.count() == 800)
        wait_for("the rejected one is counted", 30, lambda: metric(server, "series_rejected_total") == 1)
        wait_for("lag 0", 10, lambda: metric(server, "series_lag_seconds") == 0)
        assert influx.count() == 800 and influx.count("input") == 0
        path = os.path.join(server.state, "series.rejected")
        with open(path) as f:
            text = f.read()
        lines = [x for x in text.splitlines() if not x.startswith("#")]
        assert len(lines) == 1 and lines[0].startswith("input,vehicle=bus-0 door_front=1i") and "field type conflict" in text, text[:500]
        assert os.stat(path).st_mode & 0o077 == 0
        print("type conflict: the one line in question is in the dead-letter file with its reason, 800 of 800 fixes around it stored")
    finally:
        server.end()


def main():
    server_kit.programs()
    if shutil.which("influxd") is None:
        server_kit.skip("influxd is not installed")
    influx = Influx()
    try:
        influx.start()
        test_up(influx)
        influx.end()
        influx = Influx()
        test_down_then_up(influx)
        test_killed(influx)
        test_rejected(influx)
        test_refused()
    finally:
        influx.end()


if __name__ == "__main__":
    main()
