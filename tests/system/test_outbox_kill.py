"""kill -9 of the outbox at random moments, uptimes from nothing to 2 s (most of them short: a brown-out), while records come, batches go and acks come back.
A ledger outside of it knows every record by its content: nothing stored may be missing, nothing there twice, every hole told.
"""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Place, finish  # noqa: E402
from ledger import Feeder, Ledger, settle_up  # noqa: E402

CYCLES = int(os.environ.get('CYCLES', 20000 if os.environ.get('SCHOOLWARD_NIGHTLY') == '1' else 1000))


def uptime(r):
    return r.uniform(0, 0.02) if r.random() < 0.3 else r.uniform(0.02, 0.12) if r.random() < 0.97 else r.uniform(0.12, 2.0)


def run(seed, cycles, place, results):
    r = random.Random(seed)
    ledger = Ledger()
    path = place.path('outbox-%d.db' % seed)
    limit = 1 << 30 if seed % 2 == 0 else 160 << 10  # the second one gives records up all the time
    for cycle in range(cycles):
        f = Feeder(ledger, path, group_ms=r.choice([5, 20, 100]), max_bytes=limit)
        timer = threading.Timer(uptime(r), f.child.kill)
        timer.start()
        if f.read(('open', 'refused')) is not None:
            connected = r.random() < 0.6
            while True:
                if not f.say(ledger.put(0, r.randint(1, 60 if limit > 1 << 20 else 600)), *([ledger.put(1, 1)] if r.random() < 0.5 else [])):
                    break
                if connected and not f.fetch_all(stale=r.random() < 0.3, ack=r.random() < 0.7):
                    break
                if r.random() < 0.2 and not f.say('offline'):
                    break
                if not f.say('wait 1 %d' % len(ledger.lane[1].put), 'figures') or f.read(('figures',)) is None:
                    break
        timer.cancel()
        f.kill()
        if cycle % 100 == 99 and not settle_up(ledger, path):
            results.append({'seed': seed, 'error': 'does not end in order', 'lost': -1})
            return
    settle_up(ledger, path)
    results.append(dict(ledger.verdict(), seed=seed, cycles=cycles))


def main():
    began, results = time.monotonic(), []
    with Place() as place:
        threads = [threading.Thread(target=run, args=(seed, CYCLES // 4, place, results)) for seed in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    took = time.monotonic() - began
    for v in results:
        print(' '.join('%s=%s' % x for x in v.items()))
    good = len(results) == 4 and all('error' not in v and Ledger.clean(v) for v in results)
    print('cycles=%d per_second=%.1f lost=%d doubled=%d stored=%d' % (CYCLES, CYCLES / took, sum(v['lost'] for v in results), sum(v.get('doubled', 0) for v in results),
                                                                      sum(v.get('stored', 0) for v in results)))
    finish(good and all(v['stored'] > v['cycles'] for v in results))


if __name__ == '__main__':
    main()
