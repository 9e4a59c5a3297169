"""Power cuts: the outbox on an ext4 of its own in a loop device, whose file system is shut down without flushing (xfs_io -x -c 'shutdown'): what was not
fsynced is gone, as when the ignition takes the power. Then it is mounted again, its journal replayed, and the outbox opened. The ledger lies elsewhere.
"""
import os
import random
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Place, finish, need, skip  # noqa: E402
from ledger import Feeder, Ledger, settle_up  # noqa: E402

CUTS = int(os.environ.get('CUTS', 10000 if os.environ.get('SCHOOLWARD_NIGHTLY') == '1' else 300))
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


def blackout(disk, child):
    """Power takes program and disk at one moment: the program may not go on speaking of an fsync that ran into the shutdown, so it is stopped first."""
    child.send_signal(signal.SIGSTOP)
    disk.cut()
    child.kill()


def bus(seed, cuts, place, results):
    r, ledger = random.Random(seed), Ledger()
    disk = Disk(place, seed, 24 if seed % 2 else 64)
    path = os.path.join(disk.at, 'outbox.db')
    try:
        for _ in range(cuts):
            f = Feeder(ledger, path, group_ms=r.choice([5, 20, 100]), max_bytes=1 << 30 if seed % 2 == 0 else 300 << 10, env={'FEEDER_QUIET': '1'})
            timer = threading.Timer(r.uniform(0, 0.25), blackout, (disk, f.child))
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
