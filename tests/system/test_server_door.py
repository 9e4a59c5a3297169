"""The buses' door: who is let in, what is refused and with which close code, what is acknowledged; and one honest gateway notices nothing of it all."""
import json, signal, socket, subprocess, sys, threading, time

from server_kit import *


def refusals(s):
    honest = Gateway(s, "gw-0")
    seq = 0

    def still_fine():
        nonlocal seq
        seq += 1
        honest.send(batch(seq, 1))
        honest.wait_acked(seq, timeout=5)

    still_fine()
    closes_with(4401, "unauthorised", lambda: Gateway(s, "gw-1", secret="x" * 32, greet=False))
    closes_with(4401, "unauthorised", lambda: Gateway(s, "gw-nobody", greet=False))
    closes_with(4401, "unauthorised", lambda: Gateway(s, "gw-1", secret="", greet=False))
    closes_with(4401, "unauthorised", lambda: Gateway(s, "gw-2", header_name="gw-1"))
    still_fine()

    def says(*messages, **options):
        def action():
            g = Gateway(s, "gw-1", greet=False)
            for m in messages:
                g.send(m, **options)
            return g
        return action
    r = closes_with(4400, "malformed", says(b"\xff\xff\xff"))
    r = closes_with(4400, "malformed: hello twice", says(hello("gw-1"), hello("gw-1")))
    r = closes_with(4400, "malformed: the first message must be hello", says(batch(1, 1)))
    r = closes_with(4400, "malformed: text", says(b"hello", opcode=1))
    r = closes_with(4426, "version", says(hello("gw-1", version=2)))
    bad = block(1, number(2, 1) + block(4, b"".join(zig(v) for v in [1795380000000, 950000000, 714000000, 1, 1, 1, 1, 51])))
    r = closes_with(4400, "malformed: fix.lat", says(hello("gw-1"), bad))
    r = closes_with(4400, "malformed: batch", says(hello("gw-1"), block(1, number(2, 1) + block(4, b"\x02\x04"))))
    r = closes_with(4400, "malformed", says(hello("gw-1"), b""))
    r = closes_with(1009, "too big", says(hello("gw-1"), bytes(70000)))
    still_fine()
    # half a message, then nothing; and a thousand bytes of junk instead of frames: neither disturbs the honest one
    half = Gateway(s, "gw-2", greet=False)
    half.s.sendall(b"\x82\xfe\x40\x00abcd" + bytes(100))
    with socket.create_connection(("127.0.0.1", s.port)) as junk:
        junk.sendall(bytes(range(256)) * 4)
        still_fine()
    half.close()
    # a message in fragments is one message
    g = Gateway(s, "gw-2")
    whole = batch(1, 300)
    g.send(whole[:700], fin=False)
    for i in range(700, len(whole), 500):
        g.send(whole[i:i + 500], opcode=0, fin=i + 500 >= len(whole))
    g.wait_acked(300)
    # the same gateway again: the older connection goes
    second = Gateway(s, "gw-2")
    assert second.welcome[0].through == 300
    closes_with(4409, "replaced", lambda: g)
    second.send(batch(301, 1))
    second.wait_acked(301)
    second.close()
    # wrong path, no subprotocol, unknown subprotocol: no door there
    for how in ({"path": "/elsewhere"}, {"protocol": ""}, {"protocol": "other.v1"}):
        try:
            g = Gateway(s, "gw-1", greet=False, **how)
            g.send(hello("gw-1"))
            g.receive(3)
            raise AssertionError(how)
        except (Closed, TimeoutError, ConnectionError):
            pass
    still_fine()
    print(f"refusals: all as documented, honest gateway acknowledged {seq} of {seq}")
    honest.close()


def sequences(s):
    g = Gateway(s, "gw-3")
    g.send(batch(1, 5))
    g.wait_acked(5)
    g.send(batch(3, 5))  # 3..5 are repeats
    g.wait_acked(7)
    g.send(batch(1, 7))  # all are
    g.wait_acked(7)
    assert g.ack().through == 7
    g.send(batch(20, 2))  # a gap
    g.wait_acked(21, timeout=3)
    assert g.acked[0] == set(range(1, 8)) | {20, 21}
    g.send(batch(6, 16, backlog=True))  # over everything
    g.wait_acked(19)
    g.send(batch(1, 1, lane=1))  # the urgent lane counts for itself
    g.wait_acked(1, lane=1)
    # 64 ranges and not one more
    for i in range(70):
        g.send(batch(100 + 2 * i, 1))
    deadline = time.monotonic() + 5
    while 226 not in g.acked[0] and time.monotonic() < deadline:
        g.ack()
    assert 226 in g.acked[0] and 228 not in g.acked[0], sorted(g.acked[0])[-3:]
    g.close()
    # the gateway has given up everything below 300: the gap is nobody's any more
    g = Gateway(s, "gw-3", lanes=((300, 310), (2, 1)))
    assert g.welcome[0].through == 299 and g.welcome[1].through == 1
    g.send(batch(300, 11))
    g.wait_acked(310)
    g.close()
    print("sequences: repeats, overlaps, gaps, the 65th range, a given up beginning")


def orderly_end(s):
    g = Gateway(s, "gw-0")
    first = max(g.acked[0]) + 1
    for i in range(50):
        g.send(batch(first + i, 1))
    s.process.send_signal(signal.SIGHUP)  # changes nothing
    s.process.send_signal(signal.SIGTERM)
    closes_with(1012, "restart", lambda: g)
    assert s.process.wait(timeout=20) == 0, s.log()
    assert "everything acknowledged is on disk" in s.log()
    rows = s.journal()
    assert len(rows) == len(set(rows)), "doubled in the journal"
    have = {q for n, lane, q in rows if n == "gw-0" and lane == 0}
    got = {first + i for i in range(50)} & have
    print(f"orderly end: 1012, exit 0, {len(rows)} events in the journal, none doubled; {len(got)} of the last 50 taken in")
    s.start()
    g = Gateway(s, "gw-0")
    assert g.acked[0] >= got
    g.close()


def too_fast():
    s = Server(2, **{"ingest__rate_per_s": "5"}).start()
    try:
        honest = Gateway(s, "gw-1")

        def flood():
            g = Gateway(s, "gw-0")
            for i in range(200):
                g.send(batch(1 + i, 1))
            return g
        closes_with(4429, "too fast", flood)
        honest.send(batch(1, 1))
        honest.wait_acked(1)
        print("too fast: 4429, the neighbour is acknowledged")
    finally:
        s.end()


class Mute(Gateway):
    """Takes everything and answers no ping: a modem that lost its bus."""

    def send(self, payload, opcode=2, fin=True):
        if opcode != 10:
            super().send(payload, opcode, fin)


def silent():
    s = Server(3, **{"ingest__hello_s": "1", "ingest__silent_s": "4", "ingest__ack_ms": "100"}).start()
    try:
        idle = Gateway(s, "gw-2")  # has nothing to say, but answers pings
        heard = []

        def listen():
            try:
                heard.append(idle.ack(timeout=20).through)
            except Exception as e:
                heard.append(e)
        ear = threading.Thread(target=listen)
        ear.start()
        began = time.monotonic()
        closes_with(4408, "silent: no hello", lambda: Gateway(s, "gw-0", greet=False))
        hello_s = time.monotonic() - began
        began = time.monotonic()
        closes_with(4408, "silent: nothing heard", lambda: Mute(s, "gw-1"))
        silent_s = time.monotonic() - began
        assert 0.9 <= hello_s < 4 and 3.9 <= silent_s < 8, (hello_s, silent_s)
        time.sleep(1)
        idle.send(batch(1, 1))
        ear.join(timeout=20)
        assert heard == [1], heard
        assert 'closed_total{reason="silent"} 2' in s.get("/metrics")[1]
        print(f"silent: 4408 after {hello_s:.1f} s without hello (of 1) and {silent_s:.1f} s without a pong (of 4); one that answers pings stays")
    finally:
        s.end()


def listens_only_here():
    s = Server(1)
    try:
        for address in ("0.0.0.0", "192.0.2.1"):
            s.settings["server__listen"] = f"{address}:{s.port}"
            r = subprocess.run(s.command(), capture_output=True, text=True, timeout=20)
            assert r.returncode == 78 and "loopback" in r.stderr, r
        s.settings = {"server__time_zone": "Mars/Olympus"}
        r = subprocess.run(s.command(), capture_output=True, text=True, timeout=20)
        assert r.returncode != 0 and "tzdata" in r.stderr, r.stderr
        s.settings = {"server__lissten": "x"}
        r = subprocess.run(s.command("--check-config"), capture_output=True, text=True, timeout=20)
        assert r.returncode == 78 and "did you mean listen" in r.stderr, r
        s.settings = {}
        r = subprocess.run(s.command("--check-config"), capture_output=True, text=True, timeout=20)
        assert r.returncode == 0, r
        s.start()
        # really only loopback: the port answers on 127.0.0.1 and on no other address of this machine
        listening = [line.split() for line in open("/proc/net/tcp") if f":{s.port:04X} 00000000:0000 0A" in line]
        assert [x[1].split(":")[0] for x in listening] == ["0100007F"], listening
        assert not [x for x in open("/proc/net/tcp6") if f":{s.port:04X} " in x], "listens on IPv6"
        print("listens on 127.0.0.1 alone; refuses other addresses with exit 78")
    finally:
        s.end()


def main():
    s = Server(4, ingest__ack_ms="100").start()
    try:
        refusals(s)
        sequences(s)
        orderly_end(s)
    except BaseException:
        print(s.log()[-4000:], file=sys.stderr)
        raise
    finally:
        s.end()
    too_fast()
    silent()
    listens_only_here()


main()
