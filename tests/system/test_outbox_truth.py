"""A disk whose fsync fails for a while (a loose card, an overheated one): Linux marks the pages of a failed fsync clean and says 0 to the next one, without having
written them (PostgreSQL's lesson of 2018). tests/crash/preload/disk_truth.c keeps what such a disk really holds; the power goes afterwards, or in the middle of the
recovery, and the outbox must find in that copy everything it had told as stored. Each sync of a scenario is the first to fail in turn.
"""
import os
import shutil
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BIN, Place, finish, skip  # noqa: E402
from ledger import Ledger, settle_up  # noqa: E402
from test_outbox_points import play  # noqa: E402

NIGHTLY = os.environ.get('SCHOOLWARD_NIGHTLY') == '1'
TRUTH = os.path.join(BIN, 'disk_truth.so')


def insist(l):
    """Nothing may be sent on a connection before its Welcome is taken."""
    return l.welcome().replace('welcome', 'insist')


def alarms(l):
    out = [insist(l)]
    for k in range(4):
        out += [l.put(0, 3), l.put(1, 1), 'wait 1 %d' % (k + 1), 'fetch 1']  # a fetch opens the file again at once
    return out + ['die']


def connected(l):
    return [l.put(0, 6), l.put(1, 2), 'wait 1 2', insist(l), 'fetch 1', 'fetch 0', 'ack 1 1', 'ack 0 4', l.put(0, 4), l.put(1, 1), 'wait 1 3', 'fetch 1',
            'offline', l.put(1, 1), 'wait 1 4', 'fetch 1', 'die']


def bulk(l):
    out = [insist(l)]
    for k in range(8):
        out += [l.put(0, 500), 'fetch 0', l.put(1, 1), 'wait 1 %d' % (k + 1)]
    return out + ['die']


# name: steps, size limit
SCENARIOS = {'alarms': (alarms, 1 << 30), 'connected': (connected, 1 << 30), 'bulk': (bulk, 1 << 30), 'shed': (bulk, 24 << 10)}


def once(name, folder, env):
    """One run on such a disk, then what the disk has is opened elsewhere. How many syncs, and the verdict."""
    steps, limit = SCENARIOS[name]
    shutil.rmtree(folder, ignore_errors=True)
    for sub in ('cache', 'disk'):
        os.makedirs(os.path.join(folder, sub))
    ledger, path, held = Ledger(), os.path.join(folder, 'cache', 'outbox.db'), os.path.join(folder, 'disk')
    play(ledger, path, steps, limit, ['env', 'LD_PRELOAD=' + TRUTH, 'TRUTH_SHADOW=' + held] + env)
    with open(os.path.join(held, 'syncs'), encoding='ascii') as f:
        syncs = int(f.read())
    if os.path.exists(path + '.floor'):
        shutil.copy(path + '.floor', held)
    aside = [n for n in os.listdir(held) if '.bad' in n]
    ended = settle_up(ledger, os.path.join(held, 'outbox.db'))
    aside = aside or [n for n in os.listdir(held) if '.bad' in n]
    v = ledger.verdict()
    return syncs, v, ended and (not aside or v['stored'] == 0) and Ledger.clean(v)  # the first journal of a new file is not followed


def worker(queue, place, number, results):
    while True:
        try:
            name, env = queue.pop()
        except IndexError:
            return
        try:
            _, v, good = once(name, place.path('w%d' % number), env)
            results.append((name, env, v, good))
        except (AssertionError, OSError, ValueError) as e:
            results.append((name, env, repr(e), False))


def main():
    if not os.path.exists(TRUTH):
        skip('disk_truth.so is not built')
    began, queue, results = time.monotonic(), [], []
    with Place() as place:
        for name in SCENARIOS:
            syncs, v, good = once(name, place.path('count'), [])
            assert good and v['stored'] >= 4, (name, v)
            print('%s: %d syncs' % (name, syncs))
            for first in range(1, syncs + 1):
                for n in (1, 2, 3, 4, 6) if NIGHTLY else (1, 3):
                    fail = ['TRUTH_FAIL=%d-%d' % (first, first + n - 1)]
                    queue += [(name, fail)]
                    queue += [(name, fail + ['TRUTH_EAGER=1', 'TRUTH_CUT=%d' % (first + n + k)]) for k in (range(6) if NIGHTLY else (1, 3))]
        total = len(queue)
        threads = [threading.Thread(target=worker, args=(queue, place, i, results)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    bad = [r for r in results if not r[3]]
    for name, env, v, _ in bad[:20]:
        print(name, ' '.join(env), '->', v)
    print('faults=%d clean=%d broken=%d seconds=%.0f' % (total, len(results) - len(bad), len(bad), time.monotonic() - began))
    finish(not bad and len(results) == total and total > 100)


if __name__ == '__main__':
    main()
