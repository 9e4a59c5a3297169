#!/usr/bin/env python3
"""Makes the derived recordings of counters, card readers and inputs from their seeds (recordings/DRIVER/NAME.in). The .expect files are then written by
SCHOOLWARD_RECORDINGS=write test_driver_recordings, read, and committed. Makes the same bytes every time; a recording without a seed here is left alone.
"""
import os
import random

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'recordings')
HEAD = '# schoolward-recording 1\n'
made = {}


def write(driver, name, what, origin, options, lines, more=()):
    path = os.path.join(ROOT, driver, name + '.in')
    assert path not in made, path
    made[path] = True
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='ascii', newline='\n') as f:
        f.write(HEAD + '# %s\n# driver: %s\n# origin: %s\n' % (what, driver, origin))
        if options:
            f.write('# options: %s\n' % options)
        for m in more:
            f.write('# %s\n' % m)
        f.write(''.join(line + '\n' for line in lines))


def h(b):
    return b.hex()


def flip(b, at, bit):
    return b[:at] + bytes([b[at] ^ 1 << bit]) + b[at + 1:]


BY = 'make_variants.py'


# --- HPC168 ---

def hpc(ident, cmd, data=b''):
    body = bytes([ident >> 8, ident & 255, cmd, len(data)]) + data
    return b'\x02' + (body + bytes([sum(body) & 255])).hex().upper().encode() + b'\x03'


def counts(n_in, n_out, ident=1):
    return hpc(ident, 0x93, n_in.to_bytes(4, 'big') + n_out.to_bytes(4, 'big') + bytes(8))


def hpc168():
    query = hpc(1, 0x13)
    real_query = bytes.fromhex('023030303131333030313403')
    assert query == real_query and counts(37, 5) == bytes.fromhex('0230303031393331303030303030303235303030303030303530303030303030303030303030303030434503')
    seed = 'derived from the layout of github.com/ErnestoLomar/HPC168 by us (no reply of a real counter was found)'
    var = 'derived from hpc168/counts by ' + BY + ': '
    good, after = counts(37, 5), counts(39, 6)

    def case(name, what, bad, origin=None, options='', to=2500):
        """Well, then `bad` once, then well again with two more in and one more out."""
        lines = ['0 on %s : %s' % (h(query), h(good)), '1500 on %s :%s' % (h(query), ' ' + bad if bad else ''), '%d on %s : %s' % (to, h(query), h(after))]
        write('hpc168', name, what, origin or var + what, options, lines, ('end: %d' % (to + 2500),))

    write('hpc168', 'query', 'what a program in the field sends to a real counter is what we send', 'real, github.com/ErnestoLomar/HPC168 hpc168_data_receiver.py',
          '', ['100 < ' + h(real_query)], ('end: 400',))
    write('hpc168', 'counts', '37 in and 5 out, then 39 and 6', seed, '', ['0 on %s : %s' % (h(query), h(good)), '1500 on %s : %s' % (h(query), h(after))], ('end: 3000',))
    for cut in (1, 2, 4, 5, 6, 7, 8, 9, 10, 16, 25, 33, 40, 41, 42, 43):
        case('cut-%02d' % cut, 'a reply ends after %d bytes' % cut, h(good[:cut]))
    for cut in (1, 5, 20, 43):
        write('hpc168', 'split-%02d' % cut, 'a reply in two parts, the second 200 ms after the first %d bytes' % cut, var + 'a reply in two parts', '',
              ['0 on %s : %s' % (h(query), h(good)), '1500 on %s : %s' % (h(query), h(after[:cut])), '2200 > ' + h(after[cut:]), '2300 on %s : %s' % (h(query), h(after))], ('end: 5000',))
    for at, bit in ((0, 0), (1, 0), (4, 1), (5, 2), (6, 0), (8, 3), (16, 0), (24, 4), (41, 1), (42, 0), (43, 0), (20, 7)):
        case('flip-%02d-%d' % (at, bit), 'bit %d of byte %d is flipped' % (bit, at), h(flip(good, at, bit)))
    case('glitch', 'a byte of the turn of the line before every reply', '00' + h(after))
    case('noise-before', 'noise before a reply', 'fe00137f' + h(after))
    case('noise-stx', 'noise with a start byte in it before a reply', '0241ff0230' + h(after))
    case('noise-after', 'noise after a reply', h(after) + 'a55a00ff')
    case('doubled', 'a reply twice in a row', h(after) + h(after))
    case('late', 'a reply after the time-out: it still belongs to this counter', '+600 ' + h(after))
    case('silent', 'no reply for a while', '', to=8000)
    case('other-id', 'another counter of the line answers', h(counts(900, 800, 2)))
    case('echo', 'an adapter that echoes our question before the reply', h(query) + h(after))
    case('lower-case', 'a reply in lower case', h(after[:1] + after[1:-1].lower() + after[-1:]))
    case('short-data', 'a reply with four bytes of data', h(hpc(1, 0x93, bytes(4))))
    case('no-data', 'a reply without data', h(hpc(1, 0x93)))
    case('long', 'a frame longer than any of this counter', h(b'\x02' + b'0' * 300 + b'\x03'))
    case('not-hex', 'text that is not hexadecimal', h(b'\x02' + b'00019310GG' + b'\x03'))
    case('odd', 'an odd number of digits', h(good[:20] + good[21:]))
    case('two-frames-one-end', 'a reply that lost its end, then a whole one', h(good[:-1]) + h(after))
    case('unknown-command', 'a reply to nothing we asked', h(hpc(1, 0xf7, b'\x01')))
    case('jump', 'a total no door can have let through', h(counts(2037, 5)))
    case('half-million', 'a total of half a million', h(counts(500000, 5)))
    case('restart', 'the counter lost power: its totals are zero', h(counts(0, 0)))
    random.seed(168)
    for i in range(6):
        case('garbage-%d' % i, 'bytes at the wrong speed', bytes(random.randrange(256) for _ in range(60)).hex())
    for name, a, b in (('rollover', (0xfffffffe, 0xffffffff), (1, 0)), ('rollover-one', (0xffffffff, 7), (0, 8))):
        write('hpc168', name, 'totals roll over at 32 bits', var + name, '',
              ['0 on %s : %s' % (h(query), h(counts(*a))), '1500 on %s : %s' % (h(query), h(counts(*b)))], ('end: 4000',))
    write('hpc168', 'power-keep', 'a counter that keeps its totals falls to a small value: a jump', var + 'power-keep', 'power_up=keep',
          ['0 on %s : %s' % (h(query), h(good)), '1500 on %s : %s' % (h(query), h(counts(1, 0)))], ('end: 4000',))
    q2 = hpc(2, 0x13)
    write('hpc168', 'two-doors', 'two counters on one line take turns', var + 'two doors', 'ids=0001 0002',
          ['0 on %s : +5 %s' % (h(query), h(counts(3, 0))), '0 on %s : +5 00%s' % (h(q2), h(counts(8, 9, 2))), '1500 on %s : +5 %s' % (h(query), h(counts(5, 0))),
           '2500 on %s : +5 %s' % (h(q2), h(counts(8, 11, 2)))], ('end: 5000',))
    write('hpc168', 'one-dead', 'one of two counters is dead: the other one is read nearly as often', var + 'one of two counters is dead', 'ids=0001 0002',
          ['0 on %s : %s' % (h(q2), h(counts(8, 9, 2))), '4500 on %s : %s' % (h(q2), h(counts(9, 9, 2))), '8000 on %s : %s' % (h(q2), h(counts(10, 9, 2)))], ('end: 12000',))
    write('hpc168', 'second-only', 'only the second door has a counter', var + 'only the second door has a counter', 'ids=- 0002', ['0 on %s : %s' % (h(q2), h(counts(8, 9, 2)))])
    ask_door = hpc(1, 0x66)
    opened, closed, mixed = (hpc(1, 0xe6, bytes(x)) for x in ([1] * 6, [0] * 6, [1, 1, 0, 0, 1, 1]))
    write('hpc168', 'door', 'the door opens, four board, it closes: the totals are asked for at once', var + 'door states', 'door_state=yes;poll_ms=2000',
          ['0 on %s : %s' % (h(query), h(good)), '0 on %s : %s' % (h(ask_door), h(closed)), '3000 on %s : %s' % (h(ask_door), h(opened)),
           '5000 on %s : %s' % (h(ask_door), h(closed)), '6020 on %s : %s' % (h(query), h(counts(41, 5)))], ('end: 9000',))
    write('hpc168', 'door-mixed', 'door bytes that contradict each other: not known', var + 'door bytes that contradict each other', 'door_state=yes',
          ['0 on %s : %s' % (h(query), h(good)), '0 on %s : %s' % (h(ask_door), h(opened)), '1500 on %s : %s' % (h(ask_door), h(mixed)), '3500 on %s : %s' % (h(ask_door), h(hpc(1, 0xe6, b'\1')))])
    reset = hpc(1, 0x12)
    ack = hpc(1, 0x92, b'\x06')
    write('hpc168', 'reset', 'cleared when first opened', 'derived from the layout of github.com/ErnestoLomar/HPC168 by us (no reply of a real counter was found)', 'reset=start',
          ['0 on %s : %s' % (h(reset), h(ack)), '0 on %s : %s' % (h(query), h(counts(0, 0))), '100 < %s%s' % (h(reset), h(query)), '2500 on %s : %s' % (h(query), h(counts(3, 1)))], ('end: 5000',))
    write('hpc168', 'reset-refused', 'a counter that refuses to be cleared', var + 'a refused reset', 'reset=start',
          ['0 on %s : %s' % (h(reset), h(hpc(1, 0x92, b'\x15'))), '0 on %s : %s' % (h(query), h(good))], ('end: 3000',))
    write('hpc168', 'reset-late', 'totals of before the reset come after it was sent', var + 'totals of before a reset', 'reset=start',
          ['0 on %s : %s%s' % (h(reset), h(counts(900, 800)), h(ack)), '0 on %s : %s' % (h(query), h(counts(0, 0))), '1500 on %s : %s' % (h(query), h(counts(2, 0)))], ('end: 4000',))
    write('hpc168', 'hangup', 'the cable is pulled and put back: what boarded meanwhile counts', var + 'a pulled cable', '',
          ['0 on %s : %s' % (h(query), h(good)), '1500 hangup', '1600 on %s : %s' % (h(query), h(counts(40, 5))), '6000 back'], ('end: 9000',))
    write('hpc168', 'power-cut', 'the gateway loses power: totals come from the file', var + 'a power cut of the gateway', 'state=$DIR/totals',
          ['0 on %s : %s' % (h(query), h(good)), '1500 on %s : %s' % (h(query), h(after)), '8000 power', '8000 on %s : %s' % (h(query), h(counts(42, 8)))], ('end: 10000',))
    write('hpc168', 'state-garbled', 'the file of totals is garbled: a new base', var + 'a garbled file of totals', 'state=$DIR/totals',
          ['0 on %s : %s' % (h(query), h(good))], ('file: totals "schoolward-counter 2 1795390000000" 0a "0 37 4 5 1" 0a "end 00000000" 0a', 'end: 2000'))
    talk = []
    for i in range(40):
        talk.append('%d > %s' % (100 * i + 50, h(hpc(7, 0x93 if i % 2 else 0x13, bytes(16)) if i % 3 else b'\x02\x41\x41')))
    write('hpc168', 'second-talker', 'another master and counter talk on the line', var + 'a second talker', '',
          ['0 on %s : +30 %s' % (h(query), h(good)), '2500 on %s : +30 %s' % (h(query), h(after))][:1] + talk[:25] + ['2550 on %s : +30 %s' % (h(query), h(after))] + talk[26:], ('end: 6000',))
    bytewise = ['0 on %s : %s' % (h(query), h(good)), '1100 on %s :' % h(query)]
    bytewise += ['%d > %02x' % (2010 + 5 * i, b) for i, b in enumerate(after)]
    write('hpc168', 'byte-by-byte', 'a reply byte by byte', var + 'a reply byte by byte', '', bytewise, ('end: 4000',))


# --- cards ---

KEY = 'file: key ' + bytes(range(1, 33)).hex()
KEY_OPTION = 'key_file=$DIR/key'


def em(version_and_number, check='xor', tail=b''):
    x = s = 0
    for b in version_and_number:
        x ^= b
        s = s + b & 255
    return b'\x02' + (version_and_number + bytes([x if check == 'xor' else s])).hex().upper().encode() + tail + b'\x03'


def binary(kind, ident):
    body = bytes([len(ident) + 5, kind]) + ident
    x = 0
    for b in body:
        x ^= b
    return b'\x02' + body + bytes([x]) + b'\x03'


def wiegand(number, n):
    bits = bin(number)[2:].zfill(n)
    even = str(bits[:n // 2].count('1') % 2)
    odd = str((bits[n // 2:].count('1') + 1) % 2)
    return (even + bits + odd).encode()


def cards():
    def case(name, what, origin, options, lines, more=()):
        write('cards', name, what, origin, KEY_OPTION + (';' + options if options else ''), lines, (KEY,) + tuple(more))
    em18, em4100, sumcard = bytes.fromhex('4500C5D1E9'), bytes.fromhex('1400508931'), bytes.fromhex('2E00AF0EC9')
    assert em(em18)[1:-1] == b'4500C5D1E9B8' and em(em4100)[1:-1] == b'1400508931FC' and em(sumcard, 'sum')[1:-1] == b'2E00AF0EC9B4'
    mifare = bytes.fromhex('6B3D12D6')
    w26, w34 = wiegand(0x3D12D6, 24), wiegand(0x6B3D12D6, 32)
    assert w26 == b'0' + b'001111010001001011010110' + b'1' and w34 == b'0' + b'01101011001111010001001011010110' + b'0'
    case('em18', 'a frame of an EM-18', 'real, www.cparkb2c.in/product/em-18-rfid-reader-with-rs-232/', '', ['100 > ' + h(em(em18))])
    case('em4100-repeated', 'one card lies on the reader', 'real, edaboard.com/threads/help-needed-with-rfid-card-reader.337840', '',
         ['%d > %s' % (100 + 120 * i, h(em(em4100))) for i in range(30)])
    case('em4100-sum', 'a reader whose check is the sum', 'real, github.com/lomassubedi/rfid_attendance RFID_NODE.ino', '', ['100 > ' + h(em(sumcard, 'sum'))])
    case('binary', 'a binary frame', 'real, allinbest.com 13.56MHz reader page', 'format=binary', ['100 > 020902042e5382f003'])
    case('wiegand-26', 'the 26 bits of a card', 'real, rhombusacs.myshopify.com reader page (the bits; CR LF as converters end them)', 'format=wiegand;width=24', ['100 > %s0d0a' % h(w26)])
    case('wiegand-34', 'the 34 bits of the same card: the same hash with width 24', 'real, rhombusacs.myshopify.com reader page (the bits; CR LF as converters end them)',
         'format=wiegand;width=24', ['100 > %s0d0a' % h(w34)])
    var = 'derived from cards/em18 by ' + BY + ': '
    a, b = em(em18), em(em4100)
    for cut in range(1, 14):
        case('em18-cut-%02d' % cut, 'a frame ends after %d bytes, then a whole one' % cut, var + 'cut after %d bytes' % cut, '', ['100 > ' + h(a[:cut]), '1000 > ' + h(b)])
    for at, bit in ((0, 0), (1, 0), (2, 3), (5, 1), (8, 4), (11, 0), (12, 2), (13, 0)):
        case('em18-flip-%02d-%d' % (at, bit), 'bit %d of byte %d is flipped, then a whole one' % (bit, at), var + 'bit %d of byte %d flipped' % (bit, at), '',
             ['100 > ' + h(flip(a, at, bit)), '1000 > ' + h(b)])
    for name, what, data in (('noise-before', 'noise before a frame', b'\xff\x00\x7f' + a), ('noise-after', 'noise after a frame', a + b'\x80\x01\x99'),
                             ('noise-between', 'noise between two frames', a + b'\x55\xaa' + b), ('doubled', 'a frame twice in a row', a + a),
                             ('two-in-one', 'two cards in one go', a + b), ('lost-end', 'a frame without its end, then another', a[:-1] + b),
                             ('lower-case', 'a frame in lower case', a[:1] + a[1:-1].lower() + a[-1:]), ('zero', 'a number of zeros: no card', em(bytes(5))),
                             ('ones', 'a number of ones: no card', em(b'\xff' * 5)), ('too-long', 'twenty digits in a frame', b'\x02' + b'4500C5D1E9B84500C5D1' + b'\x03'),
                             ('crlf', 'CR LF before the end, as an ID-12 sends it', em(em18, tail=b'\r\n')), ('crlf-after', 'CR LF after the end', a + b'\r\n')):
        case('em18-' + name, what, var + name, '', ['100 > ' + h(data)])
    case('em18-byte-by-byte', 'a frame byte by byte', var + 'byte by byte', '', ['%d > %02x' % (100 + 10 * i, c) for i, c in enumerate(a)])
    case('em18-alternating', 'two children hold their cards there in turns: two taps', var + 'two cards in turns', '',
         ['%d > %s' % (100 + 200 * i, h(a if i % 2 else b)) for i in range(40)])
    case('em18-back-later', 'the same card a minute later is a second tap', var + 'a minute later', '', ['100 > ' + h(a), '60000 > ' + h(a), '60200 > ' + h(a)])
    case('em18-class', 'forty children board, then the first one again', var + 'forty cards', 'way=on;door=1',
         ['%d > %s' % (100 + 500 * i, h(em(bytes([0x45, 0, 0xc5, 0xd1, i])))) for i in range(40)] + ['30000 > ' + h(em(bytes([0x45, 0, 0xc5, 0xd1, 0])))])
    case('em18-xor-only', 'check = xor refuses the sum', var + 'check = xor', 'check=xor', ['100 > ' + h(em(sumcard, 'sum')), '1000 > ' + h(a)])
    case('em18-sum-only', 'check = sum refuses the XOR', var + 'check = sum', 'check=sum', ['100 > ' + h(a), '1000 > ' + h(em(sumcard, 'sum'))])
    case('em18-auto-settles', 'a reader that began with the XOR does not change to the sum', var + 'two kinds of check', '', ['100 > ' + h(a), '1000 > ' + h(em(sumcard, 'sum'))])
    case('em18-above-7fffffff', 'a number above 7FFFFFFF', var + 'another number', '', ['100 > ' + h(em(bytes.fromhex('45F0C5D1E9')))])
    case('em18-hangup', 'the reader is unplugged while a card lies there', var + 'unplugged', 'repeat_ms=5000', ['100 > ' + h(a), '500 hangup', '1000 back', '3000 > ' + h(a), '9000 > ' + h(b)])
    random.seed(4100)
    for i in range(4):
        case('em18-garbage-%d' % i, 'bytes at the wrong speed, then a frame', var + 'wrong speed', '', ['100 > ' + bytes(random.randrange(256) for _ in range(80)).hex(), '1000 > 02 03', '1500 > ' + h(b)])
    bvar = 'derived from cards/binary by ' + BY + ': '
    real = bytes.fromhex('020902042e5382f003')
    assert binary(2, bytes.fromhex('042E5382')) == real
    for cut in (1, 2, 3, 5, 7, 8):
        case('binary-cut-%d' % cut, 'a frame ends after %d bytes, then a whole one' % cut, bvar + 'cut', 'format=binary', ['100 > ' + h(real[:cut]), '1000 > ' + h(binary(2, mifare)), '2000 > ' + h(real)])
    for name, what, data in (('marks-inside', '02 and 03 in the number', binary(2, b'\x02\x03\x02\x03')), ('seven-bytes', 'a UID of seven bytes', binary(1, bytes.fromhex('04A1B2C3D4E5F6'))),
                             ('ten-bytes', 'a UID of ten bytes', binary(1, bytes.fromhex('0411223344556677AA99'))), ('random', 'a random UID: new at each tap, of no use', binary(1, bytes.fromhex('08A1B2C3'))),
                             ('em4100-08', 'an EM4100 number that begins with 08 is a card', binary(2, bytes.fromhex('08A1B2C3'))), ('eleven-bytes', 'a UID longer than any', binary(1, bytes(range(1, 12)))),
                             ('unknown-type', 'a type of card nobody knows', binary(9, mifare)), ('bad-xor', 'a wrong check', real[:-2] + b'\x00\x03'), ('bad-end', 'a wrong end', real[:-1] + b'\x04'),
                             ('noise', 'noise before and after', b'\x02\x02\x09' + real + b'\xff\x02'), ('length-0', 'a length of nothing', b'\x02\x00\x03'), ('length-255', 'a length of 255', b'\x02\xff' + bytes(20))):
        case('binary-' + name, what + ', then another card', bvar + name, 'format=binary', ['100 > ' + h(data), '1000 > ' + h(binary(2, b'\x11\x22\x33\x44')), '2000 > ' + h(binary(2, b'\x11\x22\x33\x55'))])
    wvar = 'derived from cards/wiegand-26 by ' + BY + ': '
    for name, what, options, data in (
            ('parity-even', 'the first parity is wrong', 'width=24', b'1' + w26[1:] + b'\r\n'), ('parity-odd', 'the second parity is wrong', 'width=24', w26[:-1] + b'0\r\n'),
            ('short', 'a bit was lost', 'width=24', w26[:-1] + b'\r\n'), ('letters', 'other text', 'width=24', b'CARD READER V1.2 READY\r\n'),
            ('whole', 'all 32 bits count: another hash than with 26', 'width=0', w34 + b'\r')):
        case('wiegand-' + name, what, wvar + name, 'format=wiegand;' + options, ['100 > ' + h(data), '1000 > %s0d' % h(wiegand(0x112233, 24))])
    for name, what, options, data in (
            ('hex', 'the same card from a reader that writes hexadecimal', 'format=hex;width=24', b'6B3D12D6\r\n'),
            ('hex-reversed', 'the same card from a reader that writes the lowest byte first', 'format=hex;width=24;byte_order=reversed', b'D6123D6B\r\n'),
            ('decimal', 'the same card as ten digits', 'format=decimal;width=24', b'%010d\r\n' % 0x6B3D12D6), ('decimal-comma', 'the same card as facility and number', 'format=decimal;width=24', b'061,04822\r\n'),
            ('decimal-8', 'the same card as eight digits', 'format=decimal;width=24', b'%08d\n' % 0x3D12D6), ('hex-random', 'a random UID', 'format=hex;chip=mifare', b'08112233\r\n'),
            ('hex-odd', 'an odd number of digits', 'format=hex', b'6B3D12D\r\n'), ('hex-21', 'more digits than any card', 'format=hex', b'0411223344556677AA9900\r\n'), ('hex-binary', 'bytes that are no text', 'format=hex', b'\x00\x80\xff6B3D\r\n6B3D12D6\r\n'),
            ('decimal-large', 'a number above 32 bits', 'format=decimal', b'9999999999\r\n'), ('decimal-facility', 'a facility above 255', 'format=decimal', b'256,00001\r\n')):
        case('line-' + name, what, wvar + name, options, ['100 > ' + h(data)])


# --- Modbus: a wire whose slave answers from its memory, and sometimes otherwise ---

def crc(b):
    c = 0xffff
    for x in b:
        c ^= x
        for _ in range(8):
            c = c >> 1 ^ 0xa001 if c & 1 else c >> 1
    return b + bytes([c & 255, c >> 8])


def words(values):
    return b''.join(v.to_bytes(2, 'big') for v in values)


def registers(slave, function, values):
    return crc(bytes([slave, function, 2 * len(values)]) + words(values))


def u32(v, order='ABCD'):
    b = v.to_bytes(4, 'big')
    b = {'ABCD': b, 'CDAB': b[2:] + b[:2], 'BADC': bytes([b[1], b[0], b[3], b[2]]), 'DCBA': b[::-1]}[order]
    return '%d %d' % (int.from_bytes(b[:2], 'big'), int.from_bytes(b[2:], 'big'))


def conf(text):
    return ' 0a '.join('"%s"' % line for line in text.split('\n')) + ' 0a'


def modbus_counter():
    quick = 'poll_ms=500;timeout_ms=200;report_s=3600'
    var = 'derived from counter/first by ' + BY + ': '
    good = [0, 10, 0, 4, 0, 0, 0, 0]
    memory = '0 word 0 ' + ' '.join(map(str, good))
    more = [0, 12, 0, 5, 0, 0, 0, 0]
    after = registers(1, 4, more)

    def case(name, what, reply, options=quick):
        write('counter', name, what, var + what, options, [memory, '700 word 0 ' + ' '.join(map(str, more)), '700 reply ' + reply], ('slave: 1', 'end: 4000'))
    for cut in (1, 2, 3, 4, 10, 18, 19, 20):
        case('cut-%02d' % cut, 'an answer ends after %d bytes' % cut, h(after[:cut]))
    for at, bit in ((0, 1), (1, 2), (2, 0), (3, 7), (6, 0), (19, 3), (20, 6)):
        case('flip-%02d-%d' % (at, bit), 'bit %d of byte %d is flipped' % (bit, at), h(flip(after, at, bit)))
    case('noise-before', 'noise before an answer', 'ff00' + h(after))
    case('noise-after', 'noise after an answer', h(after) + 'ff0055')
    case('doubled', 'an answer twice in a row', h(after) + h(after))
    case('late', 'an answer after the time-out is not taken for the next one', '+300 ' + h(registers(1, 4, [0, 99, 0, 99, 0, 0, 0, 0])))
    case('silent', 'no answer once', '')
    case('wrong-slave', 'another slave answers', h(registers(2, 4, more)))
    case('wrong-function', 'an answer to another function', h(registers(1, 3, more)))
    case('fewer', 'fewer registers than asked for', h(registers(1, 4, more[:4])))
    case('echo', 'an adapter that echoes the question', h(crc(bytes([1, 4, 0, 0, 0, 8]))) + h(after))
    for code in (1, 2, 3, 4, 5, 6, 10, 11):
        case('exception-%02d' % code, 'exception %d' % code, h(crc(bytes([1, 0x84, code]))))
    random.seed(502)
    for i in range(3):
        case('garbage-%d' % i, 'bytes at the wrong speed', bytes(random.randrange(256) for _ in range(21)).hex())
    write('counter', 'unplugged', 'the cable is pulled and put back', var + 'the cable is pulled', quick,
          [memory, '900 hangup', '900 word 0 0 13 0 4', '3000 back'], ('slave: 1', 'end: 8000'))
    write('counter', 'power-cut', 'the gateway loses power while three board', var + 'a power cut', quick + ';state=$DIR/totals',
          [memory, '700 word 0 0 12 0 5', '8000 power', '8000 word 0 0 15 0 5'], ('slave: 1', 'end: 10000'))
    for order in ('CDAB', 'BADC', 'DCBA'):
        text = '[counter]\nmodel = ' + order + '\nfunction = 3\nword_order = ' + order + '\n[door 0]\nin = 0\nout = 2'
        write('counter', 'order-' + order.lower(), 'word order ' + order + ' across a carry of the low word', var + 'word order ' + order, quick + ';map=$DIR/map',
              ['0 word 0 %s %s' % (u32(65534, order), u32(7, order)), '700 word 0 %s %s' % (u32(65537, order), u32(8, order))], ('slave: 1', 'file: map ' + conf(text), 'end: 2500'))
    write('counter', 'order-wrong', 'a map with the wrong word order: the carry is a jump, never 65536 people', var + 'the wrong word order', quick,
          ['0 word 0 65534 0 0 0 0 0 0 0', '700 word 0 1 1 0 0 0 0 0 0'], ('slave: 1', 'end: 2500'))
    text = '[counter]\nmodel = sixteen\nfunction = 3\nwidth = 16\n[door 0]\nin = 0\nout = 1'
    write('counter', 'rollover-16', 'sixteen bits roll over', var + 'sixteen bits', quick + ';map=$DIR/map', ['0 word 0 65534 65535', '700 word 0 1 0'], ('slave: 1', 'file: map ' + conf(text), 'end: 2500'))
    text = '[counter]\nmodel = decimal\nfunction = 3\nwidth = 16\nrollover = 10000\n[door 0]\nin = 0'
    write('counter', 'rollover-10000', 'a total that rolls over at 9999', var + 'roll-over at 9999', quick + ';map=$DIR/map', ['0 word 0 9998', '700 word 0 1'], ('slave: 1', 'file: map ' + conf(text), 'end: 2500'))
    text = '[counter]\nmodel = edges\nfunction = 4\nwidth = 16\nscale = 0.5\n[door 0]\nin = 0'
    write('counter', 'half-persons', 'two edges for each person', var + 'scale 0.5', quick + ';map=$DIR/map', ['0 word 0 100', '700 word 0 103', '1700 word 0 104'], ('slave: 1', 'file: map ' + conf(text), 'end: 3500'))
    source = ' (registers of the maker\'s manual, values ours)'
    write('counter', 'isma-sfar-4di', 'iSMA SFAR-1M-4DI: four totals from 40053, low word first', 'written by us' + source, quick + ';map=isma-sfar-4di',
          ['0 word 52 5 1 2 0 0 0 0 0', '700 word 52 8 1 2 0 1 0 0 0'], ('slave: 1', 'end: 2500'))
    write('counter', 'hardwario-gauger', 'HARDWARIO Gauger: Modbus TCP, 45301', 'written by us' + source, quick + ';map=hardwario-gauger;port=tcp:192.0.2.1:502',
          ['0 word 5300 65535 3 0 0', '700 word 5300 1 4 0 1'], ('slave: 1', 'end: 2500'))
    write('counter', 'omega-fpd4000', 'Omega FPD-4000: input registers, cleared by coil 1000 when first opened', 'written by us' + source, quick + ';map=omega-fpd4000',
          ['0 word 0 0 0 0 0', '700 word 0 0 2 0 1'], ('slave: 1', 'end: 3500'))
    text = '[counter]\nmodel = test\nfunction = 3\nword_order = ABCD\n[door 0]\nin = 124'
    write('counter', 'pymodbus', 'an exchange of another project\'s tests: 32 bits at 124 of slave 17, then the exception', 'real, github.com/pymodbus-dev/pymodbus test/framer/test_framer.py',
          quick + ';slave=17;map=$DIR/map', ['0 reply 110304008d008efbbd', '0 reply 110304008d008efbbd', '0 reply 118302c134', '0 reply 110304008d008efbbd', '450 <~ 1103007c00020743'],
          ('slave: 17', 'file: map ' + conf(text), 'end: 1700'))


def modbus_inputs():
    quick = 'poll_ms=50;timeout_ms=200;report_s=3600'
    var = 'derived from inputs/first by ' + BY + ': '
    off = '0 bit 0 0 0 0 1 1 0 0 0 0'

    def case(name, what, lines, options=quick, more=(), end=3000):
        write('inputs', name, what, var + what, options, lines, ('slave: 1', 'end: %d' % end) + tuple(more))
    good = crc(bytes([1, 2, 2, 0b00011000, 0]))
    for name, what, reply in (('cut', 'half an answer', good[:4]), ('flip', 'a flipped bit', flip(good, 3, 5)), ('wrong-slave', 'another slave answers', crc(bytes([9, 2, 2, 0xff, 1]))),
                              ('exception', 'an exception', crc(bytes([1, 0x82, 4]))), ('noise', 'noise', b'\x55\xaa\x00\xff'), ('silent', 'no answer', b''),
                              ('doubled', 'an answer twice', good + good), ('noise-after', 'noise after an answer', good + b'\xff\xff')):
        case('bad-' + name, what + ' and nothing is pressed', [off, '500 reply ' + h(reply), '1500 bit 0 1', '2000 bit 0 0'])
    case('late-alarm', 'an answer of before comes after the time-out: the button is not pressed', [off, '500 reply +300 ' + h(crc(bytes([1, 2, 2, 0b00111000, 0])))], end=4000)
    case('flapping', 'a door contact that chatters', [off] + ['%d bit 0 %d' % (500 + 60 * i, i % 2) for i in range(20)] + ['1800 bit 0 1'], quick + ';debounce_ms=300')
    case('flapping-plain', 'the same without a debounce', [off] + ['%d bit 0 %d' % (500 + 200 * i, i % 2) for i in range(6)])
    case('hazard', 'hazard lamps at 1.5 Hz are on, not on and off', [off] + ['%d bit 8 %d' % (500 + 333 * i, (i + 1) % 2) for i in range(12)], end=8000)
    case('short-press', 'a press of 100 ms is seen for half a minute', [off, '500 bit 5 1', '600 bit 5 0'], end=33000)
    case('long-press', 'with sos_press_ms only a press of a second counts', [off, '500 bit 5 1', '900 bit 5 0', '3000 bit 5 1', '4300 bit 5 0'], quick + ';sos_press_ms=1000', end=6000)
    case('inverted', 'one map, a bus whose one-key alarm and brake are normally closed', ['0 bit 0 0 0 0 1 0 1 0 0 0', '500 bit 5 0', '800 bit 5 1'], quick + ';invert=sos parking_brake')
    case('unfitted', 'one map, a bus without a middle door and a stop arm', [off, '500 bit 1 1', '800 bit 6 1', '900 bit 0 1'], quick + ';unfitted=door_middle stop_arm')
    case('unplugged', 'the module loses power and comes back', [off, '0 out buzzer 1', '900 hangup', '3000 back', '4000 bit 0 1'], end=6000)
    case('outputs', 'buzzer, lamp and siren', [off, '200 out buzzer 1', '400 out lamp 1', '600 out buzzer 0', '800 out siren 1'], quick + ';map=$DIR/map', end=1500,
         more=('file: map ' + conf('[inputs]\nmodel = outputs\nfunction = 2\n[input door_front]\naddress = 0\n[output buzzer]\ncoil = 0\n[output lamp]\ncoil = 1\ninverted = yes\n'
                                   '[output siren]\nregister = 40\non = 255\noff = 0'),))
    names = ('door_front door_middle door_rear ignition parking_brake sos stop_arm beacon hazard brake driver_belt belts driver_seat front_seat patrol confirm motion smoke '
             'power_lost tamper').split()
    text = '[inputs]\nmodel = all twenty\nfunction = 4\ngap = 0\n' + '\n'.join('[input %s]\naddress = %d\nbit = %d' % (n, 2 * i, i % 16) for i, n in enumerate(names))
    case('all-twenty', 'all twenty inputs, each in a register of its own', ['0 word %d 0' % (2 * i) for i in range(20)] + ['%d word %d %d' % (300 + 200 * i, 2 * i, 1 << i % 16) for i in range(20)],
         quick + ';map=$DIR/map', ('file: map ' + conf(text),), end=5000)
    case('full-map', 'the full map: left behind: motion, the rear button, the siren', ['0 bit 0 ' + ' '.join('0' * 20), '0 word 0 215 24100 0 0', '500 bit 16 1', '700 out siren 1', '1500 bit 14 1', '1700 bit 14 0', '2000 bit 16 0', '2500 out siren 0'],
         quick + ';map=full-inputs', end=9500)
    text = ('[inputs]\nmodel = readings\nfunction = 2\n[input ignition]\naddress = 0\n'
            '[reading cabin]\nwhat = cabin_c\nfunction = 4\naddress = 10\nsigned = yes\nscale = 0.1\ndeadband = 0.5\nmin = -40\nmax = 85\n'
            '[reading supply]\nwhat = supply_v\nfunction = 4\naddress = 11\nscale = 0.001\ndeadband = 0.5')
    case('readings', 'temperature and voltage: told when they change by the dead band; a broken sensor is unknown',
         ['0 bit 0 1', '0 word 10 215 24000', '2000 word 10 217', '4000 word 10 221', '6000 word 10 65436', '8000 word 10 32767', '10000 word 10 220 18500'],
         quick + ';map=$DIR/map', ('file: map ' + conf(text),), end=13000)
    text = ('[inputs]\nmodel = wheel\nfunction = 2\n[input ignition]\naddress = 0\n'
            '[reading wheel]\nwhat = wheel_kmh\nfunction = 3\naddress = 20\nwidth = 16\npulses_per_km = 36000\ndeadband = 3\nreport_s = 3600')
    case('wheel', 'pulses of the gearbox: standing; a register that was reset is unknown once, never a speed',
         ['0 bit 0 1', '0 word 20 65000', '6000 word 20 30000'], quick + ';map=$DIR/map', ('file: map ' + conf(text),), end=12000)


# --- JT/T 808 ---

def jt808(message, body, serial=1, phone='013912345678', new=False, properties=0):
    n = len(body) | properties
    head = message.to_bytes(2, 'big') + (n | (1 << 14 if new else 0)).to_bytes(2, 'big') + (b'\x01' + bytes.fromhex(phone.zfill(20)) if new else bytes.fromhex(phone)) + serial.to_bytes(2, 'big')
    raw = head + body
    x = 0
    for b in raw:
        x ^= b
    raw += bytes([x])
    return b'\x7e' + raw.replace(b'\x7d', b'\x7d\x01').replace(b'\x7e', b'\x7d\x02') + b'\x7e'


def interval(start, end, n_in, n_out, serial=1, **more):
    return jt808(0x1005, bytes.fromhex(start + end) + n_in.to_bytes(2, 'big') + n_out.to_bytes(2, 'big'), serial, **more)


def intervals():
    # the clock of a recording starts at 1795390000000: 2026-11-23 07:26:40 in China
    first, second = ('261123072000', '261123072600'), ('261123072600', '261123072700')
    seed = 'written by us (JT/T 1078 message 0x1005 in frames of JT/T 808)'
    var = 'derived from interval-counter/counts by ' + BY + ': '
    a, b = interval(*first, 12, 3), interval(*second, 4, 0, 2)

    def case(name, what, lines, origin=None, options='', more=()):
        write('interval-counter', name, what, origin or var + what, options, lines, more)
    case('counts', 'two intervals and their acknowledgements', ['100 > ' + h(a), '150 < ' + h(jt808(0x8001, bytes.fromhex('0001100500'), 0)), '60000 > ' + h(b),
                                                               '60050 < ' + h(jt808(0x8001, bytes.fromhex('0002100500'), 1))], seed)
    # vectors of two other projects' tests; the recording's clock stands half a minute after their end
    case('gojt808', 'a day of passengers', ['100 > 7e100500101234567890120001241001000000241002001001000200138d7e'], 'real, github.com/cuteLittleDevil/go-jt808 protocol/model/parse_test.go', more=('wall: 1727799031000',))
    case('yezhihao-2013', 'more people than a city, in no time', ['100 > 7e10050010123456789012000120070719235920070719235981f54812a07e'], 'real, github.com/yezhihao/jt808-server tests', more=('wall: 1594121069000',))
    case('yezhihao-2019', 'the same with the header of 2019', ['100 > 7e100540100112345678901234567890ffff20070719235920070719235981f548126a7e'], 'real, github.com/yezhihao/jt808-server tests', more=('wall: 1594121069000',))
    case('2019', 'the header of 2019', ['100 > ' + h(interval(*first, 12, 3, new=True)), '150 < ' + h(jt808(0x8001, bytes.fromhex('0001100500'), 0, new=True))])
    case('register', 'a unit that registers and logs in first', ['100 > ' + h(jt808(0x0100, bytes(30), 7)), '150 < ' + h(jt808(0x8100, b'\0\7\0SW', 0)),
                                                                  '200 > ' + h(jt808(0x0102, b'SW', 8)), '250 < ' + h(jt808(0x8001, bytes.fromhex('0008010200'), 1)), '300 > ' + h(jt808(2, b'', 9)), '400 > ' + h(a)])
    case('repeated', 'an interval is told three times', ['%d > %s' % (100 + 5000 * i, h(interval(*first, 12, 3, 1 + i))) for i in range(3)])
    case('late', 'an interval of before comes after a newer one', ['100 > ' + h(b), '1000 > ' + h(a)])
    case('very-late', 'an interval that waited in the unit for two hours', ['100 > ' + h(interval('261123050000', '261123051000', 9, 9))])
    case('ahead', 'a unit whose clock is an hour ahead', ['100 > ' + h(interval('261123082000', '261123082500', 2, 1))])
    case('escaped', 'numbers that must be escaped', ['100 > ' + h(interval(*first, 0x7d, 0x7e, 0x7e7d))])
    case('impossible', 'a thousand in six minutes', ['100 > ' + h(interval(*first, 1000, 3))])
    case('too-fast', 'forty in one second', ['100 > ' + h(interval('261123072600', '261123072601', 40, 0))])
    case('backwards', 'an interval that ends before it begins', ['100 > ' + h(interval(*first[::-1], 2, 3)), '200 > ' + h(b)])
    case('no-date', 'the thirty-first of November', ['100 > ' + h(interval('261131072000', '261131072600', 2, 3)), '200 > ' + h(b)])
    case('not-bcd', 'a time that is no BCD', ['100 > ' + h(interval('26112307200a', '261123072600', 2, 3)), '200 > ' + h(b)])
    case('short', 'a body of fifteen bytes', ['100 > ' + h(jt808(0x1005, bytes(15))), '200 > ' + h(b)])
    case('unknown', 'a message nobody asked for', ['100 > ' + h(jt808(0x0200, bytes(28))), '200 > ' + h(b)])
    case('parts', 'a message in parts', ['100 > ' + h(jt808(0x1005, bytes([0, 2, 0, 1]) + bytes(8), properties=1 << 13)), '150 > ' + h(jt808(0x1005, bytes(16), properties=1 << 10)), '200 > ' + h(b)])
    for cut in (1, 2, 5, 12, 20, 28, 29, 30):
        case('cut-%02d' % cut, 'a frame ends after %d bytes, then a whole one' % cut, ['100 > ' + h(a[:cut]), '1000 > ' + h(b)])
    for at, bit in ((0, 0), (1, 4), (4, 0), (14, 3), (25, 1), (29, 2)):
        case('flip-%02d-%d' % (at, bit), 'bit %d of byte %d is flipped, then a whole one' % (bit, at), ['100 > ' + h(flip(a, at, bit)), '1000 > ' + h(b)])
    case('noise', 'noise around a frame', ['100 > 0055ff' + h(a) + 'aa00', '1000 > ' + h(b)])
    case('shared-mark', 'one mark ends a frame and begins the next', ['100 > ' + h(a[:-1] + b)])
    case('power-cut', 'the gateway loses power: the totals come from the file', ['100 > ' + h(a), '8000 power', '9000 > ' + h(b)], options='state=$DIR/totals', more=('end: 10000',))


# --- people-uart ---

def crc8(b):
    c = 0
    for x in b:
        c ^= x
        for _ in range(8):
            c = (c << 1 ^ 7) & 255 if c & 0x80 else c << 1
    return b + bytes([c])


def pc(n_in, n_out, order='big', sensor=b'\0\0\0\1'):
    return crc8(b'PC' + sensor + (n_in - n_out & 0xffffffff).to_bytes(4, order) + n_in.to_bytes(2, order) + n_out.to_bytes(2, order))


def people():
    assert crc8(bytes.fromhex('00550800000000'))[-1] == 0x7c and crc8(bytes.fromhex('006101'))[-1] == 0xe7
    var = 'derived from people-uart/counts by ' + BY + ': '
    distance = crc8(b'DD' + bytes.fromhex('07d0076c'))
    a, b = pc(5, 2), pc(6, 2)

    def case(name, what, lines, origin=None, options=''):
        write('people-uart', name, what, origin or var + what, options, lines)
    case('counts', 'totals between distances', ['100 > ' + h(distance + a), '1000 > ' + h(distance * 3 + b + distance)],
         'written by us (layout of the TeraRanger Evo People Counter manual; its own command bytes confirm the crc)')
    case('low-first', 'the lowest byte first', ['100 > ' + h(pc(5, 2, 'little')), '1000 > ' + h(pc(6, 2, 'little'))])
    case('without-sensor', 'the shorter frame of the Evo Swipe Plus', ['100 > ' + h(pc(5, 2, sensor=b'')), '1000 > ' + h(pc(6, 2, sensor=b''))])
    case('more-out', 'more out than in', ['100 > ' + h(pc(5, 9)), '1000 > ' + h(pc(5, 11))])
    case('swapped', 'mounted the other way round', ['100 > ' + h(a), '1000 > ' + h(b)], options='swapped=yes;door=1')
    case('restart', 'the sensor lost power', ['100 > ' + h(a), '1000 > ' + h(pc(0, 0)), '2000 > ' + h(pc(1, 0))])
    case('rollover', 'sixteen bits roll over', ['100 > ' + h(pc(65535, 2)), '1000 > ' + h(pc(1, 2))])
    case('does-not-add-up', 'a difference that is none', ['100 > ' + h(a), '1000 > ' + h(crc8(b'PC\0\0\0\1' + bytes([0, 0, 0, 9, 0, 6, 0, 2]))), '2000 > ' + h(b)])
    for cut in (1, 2, 6, 10, 14):
        case('cut-%02d' % cut, 'a frame ends after %d bytes, then whole ones' % cut, ['100 > ' + h(a), '1000 > ' + h(b[:cut]), '1500 > ' + h(pc(7, 2)), '2000 > ' + h(pc(8, 2))])
    for at in (0, 1, 3, 9, 12, 14):
        case('flip-%02d' % at, 'a bit of byte %d is flipped, then a whole frame' % at, ['100 > ' + h(a), '1000 > ' + h(flip(b, at, 2)), '1500 > ' + h(pc(7, 2))])
    random.seed(15)
    case('garbage', 'bytes at the wrong speed, then a frame', ['100 > ' + h(a), '1000 > ' + bytes(random.randrange(256) for _ in range(200)).hex(), '2000 > ' + h(b), '2500 > ' + h(b)])


# --- text-line ---

def text_line():
    def case(name, what, options, lines, more=()):
        write('text-line', name, what, 'written by us', options, lines, more)
    line = '校车内还有学生，请检查'

    def out(text):
        return 'out text ' + text
    case('gbk', 'a line in GBK', '', ['100 ' + out('Bus 1: stop'), '150 < ' + h(b'Bus 1: stop\r\n')])
    case('prefix', 'volume commands before the text', 'prefix=[v5];urgent_prefix=[v9]', ['100 ' + out('slow'), '150 < ' + h(b'[v5]slow\r\n'), '200 out urgent stop', '250 < ' + h(b'[v9]stop\r\n')])
    case('jt808', 'message 0x8300', 'framing=jt808', ['100 ' + out('slow'), '150 < ' + h(jt808(0x8300, b'\x0cslow', 0, '000000000000')), '200 out urgent stop', '250 < ' + h(jt808(0x8300, b'\x0dstop', 1, '000000000000'))])
    case('answers', 'a unit that answers is not minded', '', ['100 ' + out('a'), '200 > "OK" 0d0a', '300 ' + out('b'), '350 < ' + h(b'a\r\nb\r\n')])
    case('unplugged', 'the unit is unplugged: the text is not kept for it', '', ['100 hangup', '500 ' + out('old'), '1000 back', '4000 ' + out('new'), '4100 < ' + h(b'new\r\n')])
    for name, encoding, options in (('chinese-gbk', 'gbk', ''), ('chinese-utf8', 'utf-8', 'encoding=utf-8')):
        path = os.path.join(ROOT, 'text-line', name + '.in')
        made[path] = True
        with open(path, 'w', encoding='utf-8', newline='\n') as f:
            f.write(HEAD + '# a Chinese line\n# driver: text-line\n# origin: written by us\n' + ('# options: %s\n' % options if options else ''))
            f.write('100 out text %s\n150 < %s 0d0a\n' % (line, line.encode(encoding).hex()))
            f.write('200 out text 请慢行 \U0001f68c\n250 < %s 0d0a\n' % ('请慢行 \U0001f68c'.encode() if encoding == 'utf-8' else '请慢行 ?'.encode('gbk')).hex())


if __name__ == '__main__':
    hpc168()
    cards()
    modbus_counter()
    modbus_inputs()
    intervals()
    people()
    text_line()
    print('%d recordings' % len(made))
