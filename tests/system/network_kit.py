"""A bad mobile network for the system tests: tests/net/tunnel between a namespace of the bus and one of the office. This process itself moves into the
office while a Link is open, so that servers it starts are there, and gateways are started in the bus. Needs root, /dev/net/tun and iptables: skips."""
import ctypes
import glob
import os
import re
import select
import socket
import struct
import subprocess
import threading
import time

from harness import BIN, SOURCE, Program, need, skip

CLONE_NEWNET = 0x40000000
BUS, OFFICE = '10.77.0.1', '10.77.0.2'
_libc = ctypes.CDLL(None, use_errno=True)


def enter(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        if _libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), 'setns')
    finally:
        os.close(fd)


class Link:
    """with Link(place) as link: link.do('set both loss 5')"""

    def __init__(self, place, seconds=240):
        self.place, self.seconds = place, seconds

    def __enter__(self):
        if os.geteuid() != 0:
            skip('a network namespace needs root')
        if not os.path.exists('/dev/net/tun'):
            skip('there is no /dev/net/tun')
        iptables = need('iptables')
        program = os.path.join(os.path.dirname(BIN), 'tests', 'tunnel')
        self.child = subprocess.Popen([program, '--seconds', str(self.seconds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.child.stdout.readline()
        m = re.match(r'ready a=(\S+) b=(\S+)', line)
        if not m:
            why = self.child.stderr.read()
            if self.child.wait() == 77:
                skip(why.strip())
            raise AssertionError(why)
        self.bus, self.office = m.group(1), m.group(2)
        self.home_fd = os.open('/proc/self/ns/net', os.O_RDONLY)
        enter(self.office)
        # The server listens on loopback alone, as it is meant to; what a proxy does for it in the field the kernel does here.
        with open('/proc/sys/net/ipv4/conf/mobile1/route_localnet', 'w') as f:
            f.write('1')
        done = subprocess.run([iptables, '-t', 'nat', '-A', 'PREROUTING', '-i', 'mobile1', '-p', 'tcp', '-j', 'DNAT', '--to-destination', '127.0.0.1'],
                              stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            self.__exit__(None, None, None)
            skip('no NAT in this kernel: ' + done.stderr.strip())
        return self

    def __exit__(self, kind, value, trace):
        _libc.setns(self.home_fd, CLONE_NEWNET)
        os.close(self.home_fd)
        self.child.stdin.close()
        self.child.wait(10)
        self.child.stdout.close()
        self.child.stderr.close()

    def do(self, line):
        self.child.stdin.write(line + '\n')
        self.child.stdin.flush()
        ready, _, _ = select.select([self.child.stdout], [], [], 5)
        answer = self.child.stdout.readline().strip() if ready else 'no answer'
        assert answer.startswith('ok'), '%s: %s' % (line, answer)
        return answer

    def stats(self):
        """{'ab': {name: n}, 'ba': {...}}"""
        out, side = {}, None
        for word in self.do('stats').split()[1:]:
            if '=' in word:
                out[side][word.split('=')[0]] = int(word.split('=')[1])
            else:
                side = word
                out[side] = {}
        return out

    def gateway(self, gateway, resolver=None):
        """Start a harness.Gateway in the bus; resolver: a resolv.conf of its own."""
        args = [os.path.join(BIN, 'schoolward-gateway'), '--config', gateway.conf]
        if resolver:
            args = ['unshare', '-m', '--propagation', 'private', 'sh', '-c', 'mount --bind "$0" /etc/resolv.conf && exec "$@"', resolver] + args
        gateway.program = Program(['nsenter', '--net=' + self.bus] + args, self.place.path(gateway.name + '.log'),
                                  env={'SCHOOLWARD_DEVICES': os.path.join(SOURCE, 'firmware-config/devices')})
        return gateway


class NameServer:
    """A name server (RFC 1035) of one address, on UDP. mode: answer, mute (says nothing), broken (SERVFAIL); pause_s before each answer."""

    def __init__(self, address, answer):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 53))
        self.answer, self.mode, self.pause_s, self.asked = answer, 'answer', 0, 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                data, who = self.socket.recvfrom(512)
            except OSError:
                return
            self.asked += 1
            if self.mode != 'mute':
                threading.Thread(target=self.reply, args=(data, who), daemon=True).start()

    def reply(self, data, who):
        time.sleep(self.pause_s)
        end = 12
        while data[end]:
            end += 1 + data[end]
        question, kind = data[12:end + 5], struct.unpack('>H', data[end + 1:end + 3])[0]
        good = self.mode == 'answer' and kind == 1  # A; of anything else there is none
        head = data[:2] + struct.pack('>HHHHH', 0x8180 if self.mode == 'answer' else 0x8182, 1, int(good), 0, 0)
        record = b'\xc0\x0c' + struct.pack('>HHIH', 1, 1, 1, 4) + socket.inet_aton(self.answer) if good else b''
        try:
            self.socket.sendto(head + question + record, who)
        except OSError:
            pass

    def close(self):
        self.socket.close()


def faketime(text):
    """Environment for a program under libfaketime: '@2026-11-25 06:00:00 x400', '+1d'. The preload library itself: faketime(1) forks, and its child would
    get no signal of ours."""
    library = sorted(glob.glob('/usr/lib/*/faketime/libfaketime.so.1'))
    if not library:
        skip('libfaketime is not installed')
    env = {'LD_PRELOAD': library[0], 'FAKETIME': text}
    if ' x' not in text: # only the date is wrong; without the second, waits for conditions never end (libfaketime 0.9.10)
        env.update(FAKETIME_DONT_FAKE_MONOTONIC='1', FAKETIME_FORCE_MONOTONIC_FIX='0')
    return env
