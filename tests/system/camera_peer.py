"""A camera that speaks the T/JSATL 12 peripheral protocol over TCP, written against docs/devices.md alone: answers what it is asked, tells alarms, serves its
files packet by packet. Every knob is an attribute."""
import datetime
import socket
import struct
import threading
import time


def frame(sequence, unit, function, body=b''):
    inner = struct.pack('>HBB', 0x1234, unit, function) + body
    raw = bytes([sum(inner) & 0xff]) + struct.pack('>H', sequence) + inner
    return b'\x7e' + raw.replace(b'\x7d', b'\x7d\x01').replace(b'\x7e', b'\x7d\x02') + b'\x7e'


def clock(seconds):
    t = datetime.datetime.fromtimestamp(seconds, datetime.timezone(datetime.timedelta(hours=8)))
    return bytes(int('%02d' % v, 16) for v in (t.year % 100, t.month, t.day, t.hour, t.minute, t.second))


class Camera:
    def __init__(self, port, unit=0x65, packet=32768):
        self.port, self.unit, self.packet = port, unit, packet
        self.files = {}             # (type, id): bytes
        self.swallow = set()        # (id, index): not sent the first time
        self.stop_after = {}        # id: packets after which it says nothing more of it, once
        self.shuffle = False
        self.got, self.again, self.answers = [], [], []
        self.alarm_id = 100
        self.sequence = 0
        self.lock = threading.Lock()
        self.sock = None
        self.ended = False
        threading.Thread(target=self.run, daemon=True).start()

    def connected(self):
        return self.sock is not None

    def send(self, data):
        with self.lock:
            if self.sock is not None:
                try:
                    self.sock.sendall(data)
                except OSError:
                    pass

    def run(self):
        while not self.ended:
            try:
                sock = socket.create_connection(('127.0.0.1', self.port), timeout=2)
            except OSError:
                time.sleep(0.05)
                continue
            sock.settimeout(None)
            self.sock = sock
            rest = b''
            try:
                while True:
                    data = sock.recv(65536)
                    if not data:
                        break
                    rest += data
                    while rest.count(b'\x7e') >= 2:
                        start = rest.index(b'\x7e')
                        end = rest.index(b'\x7e', start + 1)
                        if end > start + 1:
                            self.take(rest[start + 1:end].replace(b'\x7d\x02', b'\x7e').replace(b'\x7d\x01', b'\x7d'))
                            rest = rest[end + 1:]
                        else:
                            rest = rest[end:]
            except OSError:
                pass
            self.sock = None
            sock.close()

    def take(self, raw):
        sequence, _, unit, function = struct.unpack('>HHBB', raw[1:7])
        body = raw[7:]
        if unit != self.unit:
            return
        self.got.append(function)
        if function == 0x2F:
            self.send(frame(sequence, unit, function))
        elif function == 0x32:
            self.send(frame(sequence, unit, function, b''.join(bytes([len(t)]) + t for t in (b'ACME', b'DMS-1', b'H1', b'S2', b'007', b'us'))))
        elif function == 0x37:
            self.send(frame(sequence, unit, function, b'\x02\0\0\0\0'))
        elif function == 0x50:
            self.send(frame(sequence, unit, function))
            kind, number = body[0], struct.unpack('>I', body[1:5])[0]
            threading.Thread(target=self.serve, args=(kind, number), daemon=True).start()
        elif function == 0x51:
            kind, number, total, index, result = struct.unpack('>BIHHB', body[:10])
            (self.again if result else self.answers).append((number, index))
            if result:
                self.packet_of(kind, number, index)
        elif function == 0x52:
            self.send(frame(sequence, unit, function, b'\0'))
            self.alarm(0x10, [k for k in self.files][-1:])

    def packet_of(self, kind, number, index):
        data = self.files[(kind, number)]
        total = (len(data) + self.packet - 1) // self.packet
        self.sequence = (self.sequence + 1) & 0xff  # wraps as old firmware does
        part = data[index * self.packet:(index + 1) * self.packet]
        self.send(frame(self.sequence, self.unit, 0x51, struct.pack('>BIHH', kind, number, total, index) + part))

    def serve(self, kind, number):
        total = (len(self.files[(kind, number)]) + self.packet - 1) // self.packet
        order = list(range(total))
        if self.shuffle and total > 3:
            order[1], order[2] = order[2], order[1]
        for n, index in enumerate(order):
            if self.stop_after.get(number) == n:
                del self.stop_after[number]
                return
            if (number, index) in self.swallow:
                self.swallow.discard((number, index))
                continue
            self.packet_of(kind, number, index)

    def alarm(self, kind, files=(), phase=0):
        self.alarm_id += 1
        self.sequence = (self.sequence + 1) & 0xff
        body = struct.pack('>IBBB4xBHII', self.alarm_id, phase, kind, 0, 40, 50, 31230417, 121473701) + clock(time.time()) + struct.pack('>H', 0x0401)
        body += bytes([len(files)]) + b''.join(struct.pack('>BI', t, i) for t, i in files)
        self.send(frame(self.sequence, self.unit, 0x36, body))
        return self.alarm_id
