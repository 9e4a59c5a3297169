"""Power cuts: the outbox on an ext4 of its own in a loop device, whose file system is shut down without flushing (xfs_io -x -c 'shutdown'): what was not
fsynced is gone, as when the ignition takes the power. Then it is mounted again, its journal replayed, and the outbox opened. The ledger lies elsewhere.

Half of the cuts stop the program first, as a power cut does. In the other half it goes on, on a file system that refuses everything, and must not tell anything as
stored that is only in the page cache. There ext4 itself has to be corrected: an fdatasync under way while its journal is aborted says 0 though the new length or
blocks of the file are not on the disk (tests/crash/lying_fsync.c shows it without the outbox: 11 of 200 cuts on Linux 6.18; the next fdatasync says EIO). A shutdown by
ioctl has this window, a power cut has not, for nobody hears that 0. So disk_truth.so asks each one twice there.
"""
import os
import random
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BIN, Place, finish, need, skip  # noqa: E402
from ledger import Feeder, Ledger, settle_up  # noqa: E402

CUTS = int(os.environ.get('CUTS', 10000 if os.environ.get('SCHOOLWARD_NIGHTLY') == '1' else 300))
TRUTH = os.path.join(BIN, 'disk_truth.so')
LANES = 2  # file systems side by side


def run(*command):
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, timeout=60)


class Disk:
    def __init__(self, place, number, mib):
        self.image, self.at = place.path('disk-%d.img' % number), place.path('disk-%d' % number)
        os.makedirs(self.at)
        with open(self.image, 'wb') as f:
            f.truncate(mib << 20)
        made = run('mkfs.ext4', '-q', '-F', '-O', '^metadata_csum_seed', self.image)
        if made.returncode != 0:
            skip('mkfs.ext4: ' + made.stderr.decode().strip())
        error = self.mount()
        if error:
            skip('no loop device or no right to mount one here: ' + error)
        if run('xfs_io', '-x', '-c', 'shutdown', self.at).returncode != 0:
            self.unmount()
            skip('this kernel cannot shut an ext4 down')
        self.unmount()
        error = self.mount()
        assert not error, error

    def mount(self):
        return run('mount', '-o', 'loop', self.image, self.at).stderr.decode().strip()

    def cut(self):
        """Without -f the log is not flushed either: this is what the disk held."""
        assert run('xfs_io', '-x', '-c', 'shutdown', self.at).returncode == 0

    def unmount(self):
        for _ in range(200):
            if run('umount', self.at).returncode == 0:
                return
            time.sleep(0.01)
        run('umount', '-l', self.at)
        raise AssertionError('cannot be unmounted')


def blackout(disk, child, linger_s):
    """Power takes program and disk at one moment; or, with linger_s, the program goes on without a disk for so long."""
    if linger_s == 0:
        child.send_signal(signal.SIGSTOP)
    disk.cut()
    time.sleep(linger_s)
    child.kill()


def bus(seed, cuts, place, results):
    r, ledger = random.Random(seed), Ledger()
    disk = Disk(place, seed, 24 if seed % 2 else 64)
    path = os.path.join(disk.at, 'outbox.db')
    try:
        for cut in range(cuts):
            goes_on = cut % 2 == 1 and os.path.exists(TRUTH)
            env = {'FEEDER_QUIET': '1', **({'LD_PRELOAD': TRUTH, 'TRUTH_ASK': '1'} if goes_on else {})}
            f = Feeder(ledger, path, group_ms=r.choice([5, 20, 100]), max_bytes=1 << 30 if seed % 2 == 0 else 300 << 10, env=env)
            # beyond 1 s the outbox has tried again by itself; a fetch makes it try at once
            timer = threading.Timer(r.uniform(0, 0.25), blackout, (disk, f.child, r.choice([0.02, 0.05, 0.05, 0.1, 1.2]) if goes_on else 0))
            timer.start()
            if f.read(('open', 'refused')) is not None:
                connected = r.random() < 0.5
                while timer.is_alive():
                    if not f.say(ledger.put(0, r.randint(1, 200)), ledger.put(1, 1)):
                        break
                    if connected and not f.fetch_all(stale=r.random() < 0.3, ack=r.random() < 0.7):
                        break
                    f.say('figures')
                    if f.read(('figures',)) is None:
                        break
            timer.join()
            f.kill()
            if goes_on:  # the disk went before the program had its lock file
                ledger.malformed = [m for m in ledger.malformed if not m.startswith('refused') or 'Input/output error' not in m]
            disk.unmount()
            error = disk.mount()
            assert not error, error
        assert settle_up(ledger, path)
        results.append(dict(ledger.verdict(), seed=seed, cuts=cuts))
    finally:
        disk.unmount()


def main():
    need('xfs_io')
    need('mkfs.ext4')
    if os.geteuid() != 0:
        skip('mounting a loop device needs root')
    began, results = time.monotonic(), []
    with Place() as place:
        try:
            probe = Disk(place, 99, 16)
            probe.unmount()
        except AssertionError as e:
            skip(str(e))
        threads = [threading.Thread(target=bus, args=(seed, CUTS // LANES, place, results)) for seed in range(LANES)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    took = time.monotonic() - began
    for v in results:
        print(' '.join('%s=%s' % x for x in v.items()))
    print('power_cuts=%d per_second=%.1f lost=%d doubled=%d stored=%d' % (sum(v['cuts'] for v in results), CUTS / took, sum(v['lost'] for v in results),
                                                                         sum(v['doubled'] for v in results), sum(v['stored'] for v in results)))
    finish(len(results) == LANES and all(Ledger.clean(v) and v['stored'] > v['cuts'] for v in results))


if __name__ == '__main__':
    main()
