"""Every point at which the outbox asks the kernel for something that lasts: the process dies there, the call fails once, fails for ever, or writes half. strace
counts the calls of a scenario and then stops each of them in turn, so the enumeration is complete; the ledger is outside.

Scenarios in CI: alarms and groups stored, acknowledged and forgotten; given up because the file is full; opened after a crash with a WAL. Nightly: the rest.
"""
import os
import re
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Place, finish, need  # noqa: E402
from ledger import FEEDER, Ledger, settle_up  # noqa: E402

NIGHTLY = os.environ.get('SCHOOLWARD_NIGHTLY') == '1'
CALLS = ('openat', 'pwrite64', 'write', 'fdatasync', 'fsync', 'ftruncate', 'rename', 'unlink', 'fallocate')
FAULTS = {'kill': 'signal=SIGKILL', 'eio': 'error=EIO', 'enospc': 'error=ENOSPC'}  # 'short': crash/preload/short_write.c
SHORT = os.path.join(os.path.dirname(FEEDER), 'short_write.so')
HARD_S = 3  # seconds a run may take before it counts as hanging: normal runs take 0.2


def store(l):
    return [l.put(1, 1), 'wait 1 1', l.put(0, 3), l.put(1, 1), 'wait 1 2', l.put(0, 5), 'wait 0 8']


def ack(l):
    return [l.put(0, 6), l.put(1, 2), 'wait 1 2', 'insist' + l.welcome()[len('welcome'):], 'fetch 1', 'fetch 0', 'ack 1 1', 'ack 0 4', l.put(0, 4), l.put(1, 1), 'wait 1 3', 'offline',
            l.put(1, 1), 'wait 1 4']


def shed(l):
    out = []
    for k in range(6):
        out += [l.put(0, 500), l.put(1, 1), 'wait 1 %d' % (k + 1)]
    return out


def checkpoint(l):
    out = []
    for k in range(170):
        out += [l.put(0, 60), l.put(1, 1), 'wait 1 %d' % (k + 1)]
    return out


# name: (steps, size limit, what is done to the file before, in CI)
SCENARIOS = {
    'store': (store, 1 << 30, None, True),
    'ack': (ack, 1 << 30, None, True),
    'shed': (shed, 24 << 10, None, True),
    'reopen': (store, 1 << 30, 'crashed', NIGHTLY),
    'quarantine': (store, 1 << 30, 'broken', NIGHTLY),
    'checkpoint': (checkpoint, 1 << 30, None, NIGHTLY),
}


def hear(ledger, out):
    for line in out.decode('utf-8', 'replace').splitlines(keepends=True):
        if line.endswith('\n'):
            ledger.line(line)


def play(ledger, path, steps, limit, prefix=()):
    ledger.begin()
    script = path + '.steps'
    with open(script, 'w', encoding='utf-8') as f:
        f.write('\n'.join(steps(ledger)) + '\n')
    env = dict(os.environ, FEEDER_QUIET='1')
    child = subprocess.Popen(list(prefix) + [FEEDER, path, '20', str(limit), script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             env=env, start_new_session=True)
    try:
        out, _ = child.communicate(timeout=HARD_S)
        code = child.returncode
    except subprocess.TimeoutExpired:
        # a fault for ever: the outbox goes on trying, as it should, and the steps wait; this end is a kill too
        os.killpg(child.pid, 9)
        out, _ = child.communicate()
        code = -9
    hear(ledger, out)
    return code


def prepare(kind, folder):
    """A file as the scenario finds it, with its ledger: made anew for each run, the same each time."""
    ledger, path = Ledger(), os.path.join(folder, 'outbox.db')
    os.makedirs(folder)
    if kind is not None:
        play(ledger, path, lambda l: [l.put(0, 40), l.put(1, 3), 'wait 1 3', 'wait 0 40', 'die'], 1 << 30)
    if kind == 'broken':
        for l in ledger.lane:  # what a disk destroys nobody can hold: what counts is that it starts, and goes on above
            l.stored.clear()
        with open(path, 'r+b') as f:
            f.write(b'\x5a' * 100)
    return ledger, path


def count(name, place):
    steps, limit, kind, _ = SCENARIOS[name]
    folder = place.path('count-' + name)
    ledger, path = prepare(kind, folder)
    log = folder + '.strace'
    code = play(ledger, path, steps, limit, ['strace', '-f', '-qq', '-o', log, '-e', 'trace=' + ','.join(CALLS)])
    assert code == 0, (name, code)
    found = dict.fromkeys(CALLS, 0)
    with open(log, encoding='utf-8', errors='replace') as f:
        for line in f:
            m = re.match(r'\d+\s+(\w+)\(', line)
            if m and m.group(1) in found:
                found[m.group(1)] += 1
    assert settle_up(ledger, path) and Ledger.clean(ledger.verdict()), (name, ledger.verdict())
    return found


def cases(found):
    for call, n in found.items():
        for when in range(1, n + 1):
            yield call, when, 'kill', ''
            if call not in ('openat', 'write', 'unlink'):  # open of libraries, our own pipe: only dying there is of interest
                yield call, when, 'eio', ''
                yield call, when, 'enospc', ''
            if call == 'pwrite64':
                yield call, when, 'short', ''
            if call in ('fdatasync', 'fsync', 'pwrite64') and (NIGHTLY or when % 4 == 1):
                yield call, when, 'eio', '+'


def worker(queue, place, number, results):
    while True:
        try:
            name, call, when, fault, more = queue.pop()
        except IndexError:
            return
        steps, limit, kind, _ = SCENARIOS[name]
        folder = place.path('w%d' % number)
        shutil.rmtree(folder, ignore_errors=True)
        ledger, path = prepare(kind, folder)
        what = '%s %s:%d%s %s' % (name, call, when, more, fault)
        if fault == 'short':
            how = ['env', 'LD_PRELOAD=' + SHORT, 'SHORT_AT=%d' % when]
        else:
            how = ['strace', '-f', '-qq', '-o', '/dev/null', '-e', 'trace=' + call, '-e', 'inject=%s:%s:when=%d%s' % (call, FAULTS[fault], when, more)]
        code = play(ledger, path, steps, limit, how)
        try:
            ended = settle_up(ledger, path)
        except AssertionError as e:
            results.append((what, str(e)))
            continue
        v = ledger.verdict()
        if not ended or not Ledger.clean(v) or (fault != 'kill' and code not in (0, 1, -9, 137)):
            results.append((what, 'exit %s ended %s %s' % (code, ended, v)))
        else:
            results.append((what, None))


def main():
    need('strace')
    began = time.monotonic()
    with Place() as place:
        if subprocess.run(['strace', '-qq', '-o', '/dev/null', 'true'], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            from harness import skip
            skip('strace may not trace here')
        queue = []
        for name, (_, _, _, wanted) in SCENARIOS.items():
            if wanted and (not sys.argv[1:] or name in sys.argv[1:]):
                found = count(name, place)
                mine = [(name,) + c for c in cases(found)]
                print('%s: %s: %d points' % (name, ' '.join('%s=%d' % x for x in found.items() if x[1]), len(mine)))
                queue += mine
        total, results = len(queue), []
        queue.reverse()
        threads = [threading.Thread(target=worker, args=(queue, place, i, results)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    bad = [r for r in results if r[1] is not None]
    for what, why in bad[:20]:
        print(what, '->', why)
    print('points=%d clean=%d broken=%d seconds=%.0f' % (total, len(results) - len(bad), len(bad), time.monotonic() - began))
    finish(not bad and len(results) == total and total > 100)


if __name__ == '__main__':
    main()
