"""kill -9 of the server at random moments while gateways send: what was acknowledged is in the journal, nothing is there twice, and what was never
acknowledged is asked for again. The oracle reads the journal's files by itself (server_kit.Server.journal).
SCHOOLWARD_KILLS: how many cycles (default 60)."""
import os, random, sys, threading, time

from server_kit import *

KILLS = int(os.environ.get("SCHOOLWARD_KILLS", "60"))
GATEWAYS = 4


class Bus(threading.Thread):
    """A gateway as the protocol wants it: keeps what is not acknowledged, sends it again after a reconnect, live first, backlog beside it."""

    def __init__(self, server, name):
        super().__init__(daemon=True)
        self.server, self.name = server, name
        self.made = [0, 0]  # last sequence by lane
        self.acked = [set(), set()]
        self.stop = False
        self.sent = self.reconnects = 0
        self.failure = None

    def kept(self, lane):
        return [q for q in range(1, self.made[lane] + 1) if q not in self.acked[lane]]

    def note(self, a):
        lost = self.acked[a.lane] - a.settled()
        if lost:
            raise AssertionError(f"{self.name}: lane {a.lane}: acknowledged before and not now: {sorted(lost)[:5]}")
        self.acked[a.lane] |= a.settled()

    def talk(self):
        lanes = []
        for lane in (0, 1):
            kept = self.kept(lane)
            lanes.append((kept[0] if kept else self.made[lane] + 1, self.made[lane]))
        g = Gateway(self.server, self.name, lanes=lanes)
        self.reconnects += 1
        for a in g.welcome:
            # below the oldest kept the server may say "settled" of what it never had; only what is above is its word
            self.note(a)
        backlog = [(lane, q) for lane in (1, 0) for q in self.kept(lane)]
        random.shuffle(backlog) if random.random() < 0.2 else None
        backlog = backlog[:200]
        try:
            while not self.stop:
                lane = 1 if random.random() < 0.1 else 0
                n = random.randint(1, 4)
                first = self.made[lane] + 1
                self.made[lane] += n
                g.send(batch(first, n, lane=lane))
                self.sent += n
                for lane, q in backlog[:3]:
                    g.send(batch(q, 1, lane=lane, backlog=True, ms=int(time.time() * 1000) - 90000))
                backlog = backlog[3:]
                if random.random() < 0.3 and self.made[0] > 3:  # a careless repeat
                    q = random.randint(1, self.made[0] - 2)
                    g.send(batch(q, 2))
                g.s.settimeout(0.002)
                try:
                    while True:
                        self.note(g.ack(0.002))
                except TimeoutError:
                    pass
        finally:
            g.close()

    def run(self):
        while not self.stop:
            try:
                self.talk()
            except AssertionError as e:
                self.failure = e
                return
            except (OSError, Closed, ValueError):
                time.sleep(0.01)


def main():
    s = Server(GATEWAYS, ingest__ack_ms="0", journal__group_ms="20", ingest__rate_per_s="100000", ingest__bytes_per_s="100000000").start()
    random.seed(11)
    buses = [Bus(s, f"gw-{i}") for i in range(GATEWAYS)]
    began = time.monotonic()
    longest = 0.0
    try:
        for b in buses:
            b.start()
        for i in range(KILLS):
            time.sleep(random.uniform(0.02, 0.35))
            s.kill()
            if i % 10 == 9:  # the oracle in between: all that is acknowledged is there
                acked = {(b.name, lane, q) for b in buses for lane in (0, 1) for q in list(b.acked[lane])}
                rows = s.journal()
                check(buses, acked, rows)
            t = time.monotonic()
            s.start()
            longest = max(longest, time.monotonic() - t)
            for b in buses:
                if b.failure:
                    raise b.failure
        time.sleep(0.5)
        for b in buses:
            b.stop = True
        for b in buses:
            b.join(10)
        assert s.stop() == 0
        acked = {(b.name, lane, q) for b in buses for lane in (0, 1) for q in b.acked[lane]}
        rows = s.journal()
        check(buses, acked, rows)
        for b in buses:
            if b.failure:
                raise b.failure
        print(f"kills={KILLS} seconds={time.monotonic() - began:.1f} events_sent={sum(b.sent for b in buses)} reconnects={sum(b.reconnects for b in buses)} "
              f"acked={len(acked)} in_journal={len(rows)} acked_lost=0 doubled=0 longest_start_s={longest:.2f}")
        assert len(acked) > 50 * KILLS, "too little was sent to prove anything"
    except BaseException:
        print(s.log()[-3000:], file=sys.stderr)
        raise
    finally:
        for b in buses:
            b.stop = True
        s.end()


def check(buses, acked, rows):
    have = set(rows)
    if len(have) != len(rows):
        seen, twice = set(), []
        for r in rows:
            twice += [r] if r in seen else []
            seen.add(r)
        raise AssertionError(f"{len(rows) - len(have)} events are in the journal twice, e.g. {twice[:5]}")
    lost = acked - have
    assert not lost, f"{len(lost)} acknowledged events are not in the journal, e.g. {sorted(lost)[:5]}"
    made = {b.name: b.made for b in buses}
    for name, lane, q in rows:
        assert q <= made[name][lane], "an event nobody sent"


main()
