"""The oracle of the crash tests: ledger and server in one, outside the fault domain. It makes the records, hears which are stored, takes batches as the server
does (sequences settle, repeats are dropped), and says at the end what is missing, what is there twice, and whether every hole is told by a gap record.

A record is known by its number, which it carries inside; the sequence is the gateway's business.
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BIN  # noqa: E402

FEEDER = os.path.join(BIN, 'outbox-feeder' if os.path.exists(os.path.join(BIN, 'outbox-feeder')) else 'outbox_feeder')


class Lane:
    def __init__(self):
        self.made = 0         # numbers given to records so far
        self.put = []         # of the running feeder, in order
        self.stored = set()
        self.seq = {}         # sequence -> number or gap
        self.through = 0
        self.above = set()
        self.skipped = set()


class Ledger:
    def __init__(self):
        self.lane = [Lane(), Lane()]
        self.repeats = self.conflicts = self.starts = 0
        self.before = ''
        self.malformed = []

    # --- the bus

    def put(self, lane, n):
        l = self.lane[lane]
        first = l.made + 1
        l.made += n
        l.put.extend(range(first, first + n))
        return 'put %d %d %d' % (lane, first, l.made)

    def line(self, text):
        """What a feeder said."""
        words = text.split()
        if not words:
            return
        if words[0] == 'open':
            self.starts += 1
        elif words[0] == 'stored':
            l = self.lane[int(words[1])]
            l.stored.update(l.put[:int(words[2])])
        elif words[0] == 'batch':
            lane, first, skipped = int(words[1]), int(words[2]), int(words[3])
            records = words[5:]
            if len(records) != int(words[4][:-1]):
                return  # the end of a killed process: a line that did not get through
            self.take(lane, first, skipped, records)
        elif words[0] in ('malformed', 'refused'):
            self.malformed.append(text)

    def begin(self):
        """A new process: what the one before had only in memory is nobody's any more."""
        for l in self.lane:
            l.put = []

    # --- the server

    def settle(self, lane, first, last):
        l = self.lane[lane]
        if first <= l.through + 1:
            l.through = max(l.through, last)
        else:
            l.above.update(range(max(first, l.through + 1), last + 1))
        while l.through + 1 in l.above:
            l.through += 1
            l.above.discard(l.through)

    def take(self, lane, first, skipped, records):
        l = self.lane[lane]
        for i, r in enumerate(records):
            seq = first + i
            if seq in l.seq:
                self.repeats += 1
                self.conflicts += l.seq[seq] != r
            elif seq <= l.through or seq in l.above:
                self.conflicts += 1  # it was said that it never comes
            else:
                l.seq[seq] = r
        l.skipped.update(range(max(first - skipped, 1), first) if skipped < 100000 else ())
        self.settle(lane, first - skipped, first + len(records) - 1)

    def welcome(self, stale=False):
        """stale: as it was at the Welcome before, as of a server whose commit is still on its way; all since then is sent again."""
        if stale and self.before:
            return self.before
        words = ['welcome']
        for l in self.lane:
            above, ranges = sorted(l.above), []
            for s in above:
                if ranges and ranges[-1][1] == s - 1:
                    ranges[-1][1] = s
                else:
                    ranges.append([s, s])
            words += [str(l.through), ','.join('%d-%d' % tuple(r) for r in ranges[:64]) or '-']
        self.before = ' '.join(words)
        return self.before

    # --- the verdict

    def note(self, lane, numbers):
        """Where the lost ones lie, for whoever has to find out why."""
        l, runs = self.lane[lane], []
        at = {r: q for q, r in l.seq.items()}
        for n in numbers:
            if runs and runs[-1][1] == n - 1:
                runs[-1][1] = n
            else:
                runs.append([n, n])
        for a, b in runs[-20:]:
            print('lane %d: numbers %d..%d, between sequences %s and %s' % (lane, a, b, at.get(str(a - 1)), at.get(str(b + 1))))
        print([r for _, r in sorted(self.lane[1].seq.items()) if r.startswith('gap:')][-30:])

    def verdict(self):
        """lost: stored and neither here nor told by a gap record; doubled: a number under two sequences."""
        told, gaps = [0, 0], 0
        for l in self.lane:
            for r in l.seq.values():
                if r.startswith('gap:'):
                    _, lane, _, _, n, _ = r.split(':')
                    gaps += 1
                    told[int(lane)] += int(n)
        lost = doubled = unexplained = foreign = missing = 0
        for i, l in enumerate(self.lane):
            numbers = [int(r) for r in l.seq.values() if not r.startswith('gap:')]
            there = set(numbers)
            doubled += len(numbers) - len(there)
            foreign += len([n for n in there if not 1 <= n <= l.made])
            gone = len(l.stored - there)
            missing += gone
            if gone > told[i]:
                lost += gone - told[i]
                self.note(i, sorted(l.stored - there))
        return {'lost': lost, 'doubled': doubled, 'foreign': foreign, 'conflicts': self.conflicts, 'malformed': len(self.malformed),
                'missing_and_told': missing - lost, 'told': sum(told), 'gap_records': gaps, 'stored': sum(len(l.stored) for l in self.lane),
                'made': sum(l.made for l in self.lane), 'arrived': sum(len(l.seq) for l in self.lane), 'repeats': self.repeats, 'starts': self.starts}

    @staticmethod
    def clean(v):
        return v['lost'] == v['doubled'] == v['foreign'] == v['conflicts'] == v['malformed'] == 0


class Feeder:
    """One run of the outbox program on a file."""

    def __init__(self, ledger, path, group_ms=50, max_bytes=1 << 30, prefix=(), env=None):
        ledger.begin()
        self.ledger = ledger
        self.child = subprocess.Popen(list(prefix) + [FEEDER, path, str(group_ms), str(max_bytes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL, env=dict(os.environ, **(env or {})))
        self.seen = {}

    def say(self, *lines):
        try:
            self.child.stdin.write(('\n'.join(lines) + '\n').encode())
            self.child.stdin.flush()
            return True
        except (BrokenPipeError, OSError):
            return False

    def read(self, until=None):
        """Hear lines until one begins with a word of `until`; None at its end."""
        for raw in self.child.stdout:
            text = raw.decode('utf-8', 'replace')
            if not text.endswith('\n'):
                return None
            self.ledger.line(text)
            if until is not None and text.split()[:1] and text.split()[0] in until:
                return text
        return None

    def fetch_all(self, stale=False, ack=True):
        """As a server: welcome, take everything, acknowledge it."""
        if not self.say(self.ledger.welcome(stale)) or self.read(('welcomed', 'unwelcome')) is None:
            return False
        for lane in (1, 0):
            while True:
                if not self.say('fetch %d' % lane):
                    return False
                text = self.read(('batch', 'end'))
                if text is None:
                    return False
                if text.startswith('end'):
                    break
            if ack and not self.say('ack %d %d' % (lane, self.ledger.lane[lane].through)):
                return False
        return True

    def kill(self):
        self.child.kill()
        return self.end()

    def end(self):
        try:
            self.child.stdin.close()
        except OSError:
            pass
        self.read()  # what was said before is true
        self.child.stdout.close()
        return self.child.wait()


def settle_up(ledger, path, **how):
    """After the fault: start once more, take everything, end in order."""
    f = Feeder(ledger, path, **how)
    assert f.read(('open', 'refused')) is not None, 'does not start'
    assert f.fetch_all(), 'does not answer'
    f.say('quit')
    return f.end() == 0
