#!/usr/bin/env python3
"""Makes the recordings of cameras (recordings/camera/NAME.in): what T/JSATL 12 says, what real terminals sent where we have it, and what goes wrong on a line.
The .expect files are then written by SCHOOLWARD_RECORDINGS=write test_driver_recordings, read, and committed. Makes the same bytes every time.
"""
import os
import struct

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'recordings', 'camera')
WALL = 1795390245000  # 2026-11-23 07:30:45 in China
CLOCK = bytes.fromhex('261123073045')
ADAS, DSM, TPMS, BSD = 0x64, 0x65, 0x66, 0x67
US = 'written by us after T/JSATL 12-2017'
REAL = ['7e660001123464360005000000030000002841c57f000000800db0b67f00750612091c2b7f000000900db0b67e',
        '7e670001123464360006000000030000002841c57f000000800db0b67f00750612091c2b7f000000900db0b67e']
made = set()


def write(name, what, lines, options='unit=0x65', origin=US, end=None, more=()):
    assert name not in made, name
    made.add(name)
    os.makedirs(ROOT, exist_ok=True)
    with open(os.path.join(ROOT, name + '.in'), 'w', encoding='ascii', newline='\n') as f:
        f.write('# schoolward-recording 1\n# %s\n# driver: camera\n# origin: %s\n# options: %s\n# wall: %d\n' % (what, origin, options, WALL))
        for m in more:
            f.write('# %s\n' % m)
        if end is not None:
            f.write('# end: %d\n' % end)
        f.write(''.join(line + '\n' for line in lines))


def frame(sequence, unit, function, body=b'', vendor=0x1234):
    inner = struct.pack('>HBB', vendor, unit, function) + body
    raw = bytes([sum(inner) & 0xff]) + struct.pack('>H', sequence) + inner
    return (b'\x7e' + raw.replace(b'\x7d', b'\x7d\x01').replace(b'\x7e', b'\x7d\x02') + b'\x7e').hex()


def ours(sequence, unit, function, body=b''):
    """What the gateway sends before it has heard the camera's vendor number."""
    return frame(sequence, unit, function, body, 0)


def tail(speed=40, when=CLOCK, status=0x0401):
    return struct.pack('>BhII', speed, 50, 31230417, 121473701) + when + struct.pack('>H', status)


def files(*items):
    return bytes([len(items)]) + b''.join(struct.pack('>BI', t, i) for t, i in items)


def dsm(number, flag, kind, fatigue=0, **more):
    return struct.pack('>IBBB4x', number, flag, kind, fatigue) + tail(**more)


def adas(number, flag, kind, front=0, ds=0, departure=0, sign=0, value=0, **more):
    return struct.pack('>IBBBBBBB', number, flag, kind, front, ds, departure, sign, value) + tail(**more)


def tpms(number, flag, *wheels):
    return struct.pack('>IB', number, flag) + tail() + bytes([len(wheels)]) + b''.join(struct.pack('>BHHhH', *w) for w in wheels)


def packet(sequence, number, total, index, data, kind=0, unit=DSM):
    return frame(sequence, unit, 0x51, struct.pack('>BIHH', kind, number, total, index) + data)


def info(*texts):
    return b''.join(bytes([len(t)]) + t for t in texts)


def start(unit=DSM, first_state=2):
    """The two questions at the start, answered."""
    return ['0 on %s : +20 %s' % (ours(1, unit, 0x32), frame(1, unit, 0x32, info(b'ACME', b'DMS-1', b'H1', b'S2', b'007', b'us'))),
            '0 on %s : +20 %s' % (ours(first_state, unit, 0x37), frame(first_state, unit, 0x37, b'\x02\0\0\0\0'))]


def from_life():
    write('real-minieye-1', 'an ADAS camera\'s alarm frame as a public host simulator carries it; its body is of an early layout', ['100 > ' + REAL[0]], 'unit=0x64',
          'real, two frames in the test array of a public host simulator (Minieye); byte facts only', 1500)
    write('real-minieye-2', 'its second frame', ['100 > ' + REAL[1]], 'unit=0x64', 'real, two frames in the test array of a public host simulator (Minieye); byte facts only', 1500)
    by = 'derived from real-minieye-1 by '
    write('real-minieye-pair', 'both, with one mark between them', ['100 > ' + REAL[0] + REAL[1][2:]], 'unit=0x64', by + 'sharing the mark', 1500)
    write('real-minieye-halves', 'in three pieces', ['100 > ' + REAL[0][:18], '150 > ' + REAL[0][18:60], '400 > ' + REAL[0][60:]], 'unit=0x64', by + 'cutting it', 1500)
    for i, at in enumerate((12, 30, 60, 84)):
        bad = REAL[0][:at] + '%02x' % (int(REAL[0][at:at + 2], 16) ^ 0x10) + REAL[0][at + 2:]
        write('real-minieye-flip-%d' % (i + 1), 'a bit of it flipped: not taken; the next one is', ['100 > ' + bad, '300 > ' + REAL[1]], 'unit=0x64', by + 'flipping a bit', 1500)
    # one DSM alarm of a real terminal, 0x0200 item 0x65: 08322ccf 01 01 [01 level] 00 00000000 00 0000 01dc9f7b 073c3cf8 210429120639 0001 [label]
    body = bytes.fromhex('08322ccf01010000000000' + '00' + '0000' + '01dc9f7b' + '073c3cf8' + '210429120639' + '0001')
    by = 'derived from a real terminal\'s item 0x65 in a 0x0200 (yezhihao/jt808-server TJSATL.txt, Apache-2.0) by leaving out level and label and framing it'
    write('real-item-65', 'a fatigue alarm of a real terminal, as its camera must have said it', ['100 > ' + frame(7, DSM, 0x36, body)], origin=by, end=1500)
    write('real-item-65-again', 'sent three times because our answers got lost: one event', ['%d > %s' % (t, frame(7, DSM, 0x36, body)) for t in (100, 1100, 2100)],
          origin=by + ' three times', end=3500)
    write('real-item-65-file', 'and with one picture nobody answers for', ['100 > ' + frame(7, DSM, 0x36, body + files((0, 9)))], origin=by + ' and a media list', end=6000)


def alarms():
    for kind in (1, 2, 3, 4, 5, 6, 8, 0xa, 0xb, 0xc, 0xd):
        write('dsm-%02x' % kind, 'DSM alarm %02x begins and ends' % kind,
              ['100 > ' + frame(1, DSM, 0x36, dsm(kind, 1, kind, 7 if kind == 1 else 0) + files()), '2100 > ' + frame(2, DSM, 0x36, dsm(kind, 2, kind, speed=35) + files())], end=3000)
    for kind in (0x10, 0x11):
        write('dsm-%02x' % kind, 'DSM event %02x' % kind, ['100 > ' + frame(1, DSM, 0x36, dsm(kind, 0, kind) + files())], end=1500)
    extra = {1: dict(front=60, ds=14), 2: dict(departure=1), 3: dict(front=38, ds=9), 6: dict(sign=1, value=40), 7: dict(ds=20), 0x10: dict(sign=1, value=60)}
    for kind in (1, 2, 3, 4, 5, 6, 7, 0x10, 0x11, 0x12, 0x13):
        write('adas-%02x' % kind, 'ADAS alarm %02x' % kind, ['100 > ' + frame(1, ADAS, 0x36, adas(kind, 0, kind, **extra.get(kind, {})) + files())], 'unit=0x64', end=1500)
    for kind in (1, 2, 3):
        write('bsd-%02x' % kind, 'BSD alarm %02x begins and ends' % kind,
              ['%d > %s' % (100 + 900 * (flag - 1), frame(flag, BSD, 0x36, struct.pack('>IBB', 5, flag, kind) + tail() + files())) for flag in (1, 2)], 'unit=0x67', end=2500)
    write('tpms-low', 'a tyre low and leaking, one well', ['100 > ' + frame(1, TPMS, 0x36, tpms(1, 1, (0, 0x44, 300, 45, 90), (3, 1, 800, -10, 80)))], 'unit=0x66', end=1500)
    write('tpms-hot', 'a tyre hot', ['100 > ' + frame(1, TPMS, 0x36, tpms(1, 0, (5, 8, 850, 96, 70)))], 'unit=0x66', end=1500)
    write('tpms-sensor', 'a sensor that does not answer: its tyre is not known', ['100 > ' + frame(1, TPMS, 0x36, tpms(1, 0, (2, 0x10, 0, 0, 0)))], 'unit=0x66', end=1500)
    write('tpms-report', 'six wheels, all well: readings, no alarm', ['100 > ' + frame(1, TPMS, 0x36, tpms(1, 0, *[(i, 1, 790 + i, 20 + i, 99) for i in range(6)]))], 'unit=0x66', end=1500)
    write('tpms-short', 'says four wheels, brings one', ['100 > ' + frame(1, TPMS, 0x36, tpms(1, 0, (0, 1, 800, 20, 99)).replace(b'\x04\x01\x01\x00', b'\x04\x01\x04\x00'))], 'unit=0x66', end=1500)


def models():
    early = 'unit=0x65;model=$SOURCE/firmware-config/devices/camera-early.conf'
    write('early-flags', 'early firmware: 0 begins, 1 ends, 0x10 is an event, 2 means nothing', ['%d > %s' % (100 * (i + 1), frame(i, DSM, 0x36, dsm(3, flag, 2) + files())) for i, flag in enumerate((0, 1, 0x10, 2))], early, end=1500)
    write('early-states', 'its work states: 1 working, 2 stand-by, 4 fault', ['%d > %s' % (100 * (i + 1), frame(i, DSM, 0x38, bytes([w, 0, 0, 0, 0]))) for i, w in enumerate((1, 2, 4, 1))], early, end=1500)
    write('time-binary', 'an alarm that waited five seconds, its time in plain binary', ['5000 > ' + frame(1, DSM, 0x36, dsm(1, 1, 1, when=bytes([26, 11, 23, 7, 30, 45])) + files())], end=6500)
    write('time-bcd', 'the same in BCD', ['5000 > ' + frame(1, DSM, 0x36, dsm(1, 1, 1) + files())], end=6500)
    write('time-nonsense', 'a time that is none: ours is taken', ['5000 > ' + frame(1, DSM, 0x36, dsm(1, 1, 1, when=bytes.fromhex('266123073045')) + files())], end=6500)
    write('guangdong', 'Guangdong types of a camera and its own number for one of them', ['100 > ' + frame(1, DSM, 0x36, dsm(1, 0, 0x0a) + files()), '200 > ' + frame(2, DSM, 0x36, dsm(2, 0, 0x0d) + files())],
          'unit=0x65;model=$SOURCE/firmware-config/devices/camera-guangdong.conf', end=1500)
    write('two-units', 'an ADAS and a DSM camera behind one line, and a third that is not ours',
          ['100 > ' + frame(1, DSM, 0x36, dsm(1, 0, 2) + files()), '200 > ' + frame(1, ADAS, 0x36, adas(1, 0, 1) + files()), '300 > ' + frame(1, BSD, 0x2f)], 'unit=0x65;unit2=0x64', end=1500)
    write('two-units-states', 'one fails, the other is well: the device failed until both are well',
          ['100 > ' + frame(1, DSM, 0x38, b'\x02\0\0\0\0'), '200 > ' + frame(1, ADAS, 0x38, b'\x04\0\0\0\x01'), '300 > ' + frame(2, DSM, 0x38, b'\x02\0\0\0\0'), '400 > ' + frame(2, ADAS, 0x38, b'\x02\0\0\0\0')],
          'unit=0x65;unit2=0x64', end=1500)


def line():
    good = frame(9, DSM, 0x36, dsm(0x7e7d7e7d, 0, 2) + files())
    write('escapes', 'marks and escapes in sequence, id and body', ['100 > ' + frame(0x7e7d, DSM, 0x36, dsm(0x7d7e7d7e, 0, 2, speed=0x7e) + files())], end=1500)
    write('sequence-wrap', 'a camera that counts to 255 and begins at 0: no copies, all events',
          ['%d > %s' % (100 + 50 * i, frame((253 + i) & 0xff, DSM, 0x36, dsm(500 + i, 0, 2) + files())) for i in range(6)], end=1500)
    write('sequence-stuck', 'a camera whose counter stands still: ids tell alarms apart', ['%d > %s' % (100 + 50 * i, frame(0, DSM, 0x36, dsm(500 + i, 0, 2) + files())) for i in range(4)], end=1500)
    write('noise', 'noise before, between and behind', ['100 > 00ff13' + good + 'aabbcc7e' + frame(10, DSM, 0x36, dsm(2, 0, 3) + files()) + '55'], end=1500)
    write('half-then-whole', 'half a frame, then whole ones', ['100 > ' + good[:40], '300 > ' + good, '500 > ' + frame(10, DSM, 0x36, dsm(2, 0, 3) + files())], end=1500)
    write('bad-escape', 'an escape that is none', ['100 > 7e017d0905057e' + good], end=1500)
    write('short', 'frames of one to six bytes', ['100 > 7e017e0102037e0102030405067e' + good], end=1500)
    write('long', 'a frame of 1,500 bytes that is no picture, and one of 66,000', ['100 > ' + frame(1, DSM, 0x38, bytes(1500)), '200 > 7e' + '41' * 66000 + '7e', '400 > ' + good], end=1500)
    write('hangup', 'the line is lost and comes back', ['100 > ' + good, '1000 hangup', '1500 back', '6000 > ' + frame(1, DSM, 0x36, dsm(2, 0, 3) + files())], end=8000)
    write('keep-alive', 'it asks whether we are there, and is asked when it is quiet', ['100 > ' + frame(77, DSM, 0x2f), '300 <~ ' + frame(77, DSM, 0x2f)], end=7000)
    write('state-bits', 'storage and light fail: told in the code, but it sees', ['100 > ' + frame(1, DSM, 0x38, b'\x02\0\0\0\x0a')], end=1500)
    write('state-lens', 'the lens fails, then works', ['100 > ' + frame(1, DSM, 0x38, b'\x02\0\0\0\x01'), '900 > ' + frame(2, DSM, 0x38, b'\x02\0\0\0\0')], end=1500)
    write('state-short', 'a state of three bytes', ['100 > ' + frame(1, DSM, 0x38, b'\x02\0\0')], end=1500)
    write('silence', 'nobody there: every question three times', [], end=30000)
    write('info-broken', 'an answer whose lengths are wrong', ['0 on %s : +20 %s' % (ours(1, DSM, 0x32), frame(1, DSM, 0x32, b'\x04ACME\x20DMS'))], end=1500)


def media():
    said = lambda *f: '1000 > ' + frame(1, DSM, 0x36, dsm(4711, 0, 2) + files(*f))  # noqa: E731
    ask = lambda n, seq=3, kind=0: frame(seq, DSM, 0x50, struct.pack('>BI', kind, n))  # noqa: E731
    yes = lambda seq=3: frame(seq, DSM, 0x50)  # noqa: E731
    a, b, c = b'\xff\xd8\xff\xe0' + b'A' * 396, b'B' * 400, b'C' * 123
    write('media-one', 'a picture in one packet', start() + ['0 on %s : +20 %s' % (ask(9), yes()), said((0, 9)), '1500 > ' + packet(5, 9, 1, 0, a)], end=3000)
    write('media-three', 'in three packets, each answered', start() + ['0 on %s : +20 %s' % (ask(9), yes()), said((0, 9))] + ['%d > %s' % (1500 + 100 * i, packet(5 + i, 9, 3, i, d)) for i, d in enumerate((a, b, c))]
          + ['1900 <~ ' + frame(7, DSM, 0x51, struct.pack('>BIHHB', 0, 9, 3, 2, 0))], end=3000)
    write('media-order', 'the second before the first; a last one before its place is known is asked for again',
          start() + ['0 on %s : +20 %s' % (ask(9), yes()), said((0, 9)), '1500 > ' + packet(5, 9, 3, 2, c), '1550 <~ ' + frame(5, DSM, 0x51, struct.pack('>BIHHB', 0, 9, 3, 2, 1)),
                     '1600 > ' + packet(6, 9, 3, 1, b), '1700 > ' + packet(7, 9, 3, 0, a), '1800 > ' + packet(8, 9, 3, 2, c)], end=3000)
    write('media-twice', 'every packet twice, because answers got lost', start() + ['0 on %s : +20 %s' % (ask(9), yes()), said((0, 9))]
          + ['%d > %s' % (1500 + 100 * i, packet(5 + i // 2, 9, 3, i // 2, (a, b, c)[i // 2])) for i in range(6)], end=3500)
    write('media-missing', 'a packet never came: asked for by its number', start() + ['0 on %s : +20 %s' % (ask(9), yes()), said((0, 9)), '1500 > ' + packet(5, 9, 3, 0, a), '1600 > ' + packet(6, 9, 3, 2, c),
          '3900 <~ ' + frame(4, DSM, 0x51, struct.pack('>BIHHB', 0, 9, 3, 1, 1)), '4000 > ' + packet(7, 9, 3, 1, b)], end=6000)
    write('media-stops', 'the camera stops in the middle and is silent from then on: asked again and given up', start() + ['0 on %s : +20 %s' % (ask(9), yes()), said((0, 9)), '1500 > ' + packet(5, 9, 3, 0, a)], end=60000)
    write('media-refused', 'it does not answer for the picture: given up, the next one comes', start() + ['0 on %s : +20 %s' % (ask(10, 4), yes(4)), said((0, 9), (0, 10)), '5000 > ' + packet(5, 10, 1, 0, a)], end=7000)
    write('media-odd', 'packets of two lengths: the odd one is not taken', start() + ['0 on %s : +20 %s' % (ask(9), yes()), said((0, 9)), '1500 > ' + packet(5, 9, 3, 0, a), '1600 > ' + packet(6, 9, 3, 1, b[:-1]),
          '1700 > ' + packet(7, 9, 3, 1, b), '1800 > ' + packet(8, 9, 3, 2, c)], end=3500)
    write('media-unasked', 'a packet nobody asked for is answered, or it comes for ever', start() + ['1500 > ' + packet(5, 77, 1, 0, a), '1600 <~ ' + frame(5, DSM, 0x51, struct.pack('>BIHHB', 0, 77, 1, 0, 0))], end=2500)
    write('media-broken', 'packets without data, beyond their number, of an unknown type', start() + ['0 on %s : +20 %s' % (ask(9), yes()), said((0, 9)), '1500 > ' + frame(5, DSM, 0x51, struct.pack('>BIHH', 0, 9, 3, 0)),
          '1600 > ' + packet(6, 9, 3, 3, a), '1700 > ' + packet(7, 9, 3, 0, a, kind=3), '1800 > ' + packet(8, 9, 1, 0, a)], end=3500)
    write('media-large', 'packets of 32 KiB with marks and escapes, an alarm between them', start() + ['0 on %s : +20 %s' % (ask(9), yes()), said((0, 9)), '1500 > ' + packet(5, 9, 2, 0, b'\x7e\x7d' * 6000),
          '1600 > ' + frame(6, DSM, 0x36, dsm(4712, 0, 3) + files()), '1700 > ' + packet(7, 9, 2, 1, b'\x7d\x7e' * 100)], end=3500)
    write('media-clip', 'a clip and a sound', start() + ['0 on %s : +20 %s' % (ask(9, 3, 2), yes()), '0 on %s : +20 %s' % (ask(10, 4, 1), yes(4)), said((2, 9), (1, 10)), '1500 > ' + packet(5, 9, 1, 0, b, kind=2),
          '2000 > ' + packet(6, 10, 1, 0, c, kind=1)], end=3500)
    write('media-off', 'media = no: not asked for', start() + [said((0, 9))], 'unit=0x65;media=no', end=5000)
    back = ours(3, DSM, 0x50, struct.pack('>BI', 0, 10))  # the vendor's number is learned anew
    write('media-hangup', 'the line is lost in the middle: that one is given up, the next is fetched when it is back',
          start() + ['0 on %s : +20 %s' % (ask(9), yes()), '0 on %s : +20 %s' % (back, yes(3)), said((0, 9), (0, 10)), '1500 > ' + packet(5, 9, 3, 0, a), '2000 hangup', '2500 back',
                     '4200 > ' + packet(6, 10, 1, 0, c)], end=12000)
    write('snapshot', 'the office wants a picture: 52, the event, the file', start() + ['0 on %s : +20 %s' % (frame(3, DSM, 0x52), frame(3, DSM, 0x52, b'\0') + frame(9, DSM, 0x36, dsm(50, 0, 0x10) + files((0, 20)))),
          '0 on %s : +20 %s' % (ask(20, 4), yes(4)), '1000 out snapshot 1', '2000 > ' + packet(10, 20, 1, 0, a)], end=3500)
    write('snapshot-refused', 'and it says no', start() + ['0 on %s : +20 %s' % (frame(3, DSM, 0x52), frame(3, DSM, 0x52, b'\x01')), '1000 out snapshot 1'], end=3500)


def params():
    opt, head = 'unit=0x65;params=$DIR/params', ['file: params "[dsm]" 0a "speed_kmh = 30" 0a "volume = 6" 0a "phone_again_s = 120" 0a']
    def block(speed, volume, phone):
        b = bytearray(49)
        b[0], b[1], b[21:23] = speed, volume, struct.pack('>H', phone)
        return bytes(b)
    want = bytearray(b'\xff' * 49)
    want[0], want[1], want[21:23] = 30, 6, struct.pack('>H', 120)
    get1 = '0 on %s : +20 %s' % (ours(2, DSM, 0x34), frame(2, DSM, 0x34, block(30, 6, 120)))
    write('params-right', 'it has its settings already', start(first_state=3) + [get1], opt, end=2500, more=head)
    old = '0 on %s : +20 %s' % (ours(2, DSM, 0x34), frame(2, DSM, 0x34, block(50, 3, 60)))
    put = '0 on %s : +20 %s' % (frame(4, DSM, 0x35, bytes(want)), frame(4, DSM, 0x35, b'\0'))
    write('params-set', 'it has others: set, read again, right', start(first_state=3) + [old, put, '0 on %s : +20 %s' % (frame(5, DSM, 0x34), frame(5, DSM, 0x34, block(30, 6, 120)))], opt, end=2500, more=head)
    write('params-ignored', 'it says yes and keeps its volume: told', start(first_state=3) + [old, put, '0 on %s : +20 %s' % (frame(5, DSM, 0x34), frame(5, DSM, 0x34, block(30, 3, 120)))], opt, end=2500, more=head)
    write('params-refused', 'it says no: told, with what it has', start(first_state=3) + [old, put[:put.rindex(' ')] + ' ' + frame(4, DSM, 0x35, b'\x01'), '0 on %s : +20 %s' % (frame(5, DSM, 0x34), frame(5, DSM, 0x34, block(50, 3, 60)))],
          opt, end=2500, more=head)
    write('params-deaf', 'it does not know the question', start(first_state=3), opt, end=5000, more=head)


if __name__ == '__main__':
    for part in (from_life, alarms, models, line, media, params):
        part()
    print('%d recordings of cameras' % len(made))
