#!/usr/bin/env python3
"""Writes the recordings of gpsd's JSON in recordings/gpsd/ (all but first.in): one bus ride of simulated seconds, and one thing wrong with it in each.

Nothing here is real data: the shapes of the lines are those of gpsd 3.22, the ride is made up. What is expected is written by
`SCHOOLWARD_RECORDINGS=write test_driver_recordings gpsd` and read before it is committed.   usage: make_gpsd.py
"""
import datetime
import json
import os

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'gpsd')
START = datetime.datetime(2026, 11, 22, 23, 30, 0)  # the clock of every recording starts here
WEEKS_1024 = datetime.timedelta(weeks=1024)


def stamp(t):
    return t.strftime('%Y-%m-%dT%H:%M:%S.') + '%03dZ' % (t.microsecond // 1000)


def tpv(t, i=0.0, **other):
    """Second i of the ride; None as a value leaves the field out."""
    line = {'class': 'TPV', 'device': '/dev/gps0', 'mode': 3, 'time': stamp(t) if isinstance(t, datetime.datetime) else t, 'lat': 31.2304, 'lon': round(121.4737 + i * 1e-4, 7),
            'altMSL': 4.5, 'speed': 9.5, 'track': 90.0}
    line.update(other)
    return {k: v for k, v in line.items() if v is not None}


def sky(dbhz, **other):
    sats = [{'PRN': p, 'el': 40.0, 'az': 30.0 * p, 'ss': float(v), 'used': v > 20, 'gnssid': 0, 'svid': p} for p, v in dbhz.items()]
    line = {'class': 'SKY', 'device': '/dev/gps0', 'hdop': 0.9, 'nSat': len(sats), 'uSat': sum(s['used'] for s in sats), 'satellites': sats}
    line.update(other)
    return line


def nmea(body):
    check = 0
    for c in body.encode():
        check ^= c
    return '$%s*%02X' % (body, check)


GOOD = {2: 41, 5: 38, 9: 44, 13: 36, 17: 40, 21: 39, 30: 33}


def ride(n=5, step=1000):
    """(ms, line) of n plain seconds."""
    return [(1000 + i * step, tpv(START + datetime.timedelta(milliseconds=1000 + i * step), i * step / 1000)) for i in range(n)]


def at(i, **kw):
    """Line of second i."""
    return tpv(START + datetime.timedelta(seconds=1 + i), i, **kw)


CASES = {}


def case(name, about, lines, options='device=/dev/gps0;trust_time=receiver', end=None):
    CASES[name] = (about, options, [(ms, line if isinstance(line, str) else json.dumps(line, separators=(',', ':'))) for ms, line in lines], end)


def changed(i, **kw):
    """The plain ride with fields of second i changed."""
    lines = ride()
    lines[i] = (lines[i][0], at(i, **kw))
    return lines


def times(name, about, stamps, options='device=/dev/gps0;trust_time=receiver'):
    case(name, about, [(1000 + 1000 * i, tpv(t, i)) for i, t in enumerate(stamps)], options)


repair = 'device=/dev/gps0;trust_time=repair'
seconds = [START + datetime.timedelta(seconds=1 + i) for i in range(5)]
case('ride', 'five plain seconds', ride())
case('ten-hertz', 'ten reports a second, each a time of its own', ride(20, 100))
case('five-hertz', 'five reports a second', ride(15, 200))
for k in (1, 2):
    times('week-back-%d-repaired' % k, 'the date is %d periods of 1024 weeks too early: put right, and told' % k, [t - k * WEEKS_1024 for t in seconds[:4]] + seconds[4:], repair)
    times('week-back-%d-as-it-is' % k, 'the same where the receiver is trusted', [t - k * WEEKS_1024 for t in seconds])
times('week-ahead-repaired', 'gpsd itself moved the date 1024 weeks on', [t + WEEKS_1024 for t in seconds], repair)
times('week-and-a-day', '1024 weeks and two days off: no whole period, taken as it is', [t - WEEKS_1024 - datetime.timedelta(days=2) for t in seconds], repair)
times('year-1970', 'a receiver without a date', [t.replace(year=1970, month=1, day=1) for t in seconds], repair)
times('day-ahead', 'a day ahead is not repaired: no period', [t + datetime.timedelta(days=1, minutes=1) for t in seconds], repair)
times('leap-235960', 'a leap second as 23:59:60', ['2026-12-31T23:59:58.000Z', '2026-12-31T23:59:59.000Z', '2026-12-31T23:59:60.000Z', '2027-01-01T00:00:00.000Z', '2027-01-01T00:00:01.000Z'])
times('leap-repeated', 'a leap second as a repeated 00:00:00', ['2026-12-31T23:59:59.000Z', '2027-01-01T00:00:00.000Z', '2027-01-01T00:00:00.000Z', '2027-01-01T00:00:01.000Z'])
times('leap-learnt', '18 s back, when the almanac brings the leap seconds', seconds[:2] + [t - datetime.timedelta(seconds=18) for t in seconds[2:]])
times('midnight', '24:00 is the next day', ['2026-11-22T23:59:58.000Z', '2026-11-22T23:59:59.000Z', '2026-11-23T00:00:00.000Z', '2026-11-23T00:00:01.000Z'])
times('new-year', 'over the end of the year', ['2026-12-31T23:59:58.500Z', '2026-12-31T23:59:59.500Z', '2027-01-01T00:00:00.500Z'])
times('leap-day', '29 February', ['2028-02-28T23:59:59.000Z', '2028-02-29T00:00:00.000Z', '2028-02-29T23:59:59.000Z', '2028-03-01T00:00:00.000Z'])
times('second-missing', 'one second is missing', seconds[:2] + seconds[3:])
times('second-repeated', 'one second comes twice, later', [seconds[0], seconds[1], seconds[1], seconds[2]])
times('back-one', 'the clock steps back a second: what was given is not given again', [seconds[0], seconds[1], seconds[2], seconds[1], seconds[2], seconds[3]])
times('not-a-date', 'text where a date should be', [seconds[0], 'yesterday', seconds[1]])
times('month-13', 'a month that does not exist', [seconds[0], '2026-13-01T00:00:01.000Z', seconds[1]])
times('date-empty', 'an empty date', [seconds[0], '', seconds[1]])
times('date-long', 'a date that does not end', [seconds[0], '2026-11-22T23:30:02.' + '0' * 200 + 'Z', seconds[1]])
case('two-a-second', 'each second twice, the second report with speed', [(1000 + i * 1000 + k * 200, at(i, speed=9.5 if k else None, track=90.0 if k else None)) for i in range(4) for k in range(2)])
case('six-a-second', 'each second six times, sentence by sentence', [(1000 + i * 1000 + k * 50, at(i, mode=2 if k < 2 else 3, altMSL=4.5 if k > 2 else None, speed=9.5 if k > 3 else None, track=90.0 if k > 4 else None)) for i in range(3) for k in range(6)])
case('poorer-last', 'the last report of a second says less', [(1000 + i * 1000 + k * 200, at(i, speed=None if k else 9.5)) for i in range(3) for k in range(2)])
case('speed-made-up', 'the first speed of a second is from two positions and wrong', [(1000 + i * 1000 + k * 200, at(i, speed=9.5 if k else 33.4, track=90.0 if k else None)) for i in range(3) for k in range(2)])
case('no-height', 'RMC without GGA: no height, two dimensions', [(1000 + i * 1000, at(i, mode=2, altMSL=None)) for i in range(4)])
case('no-speed', 'GGA without RMC: no speed, no track', [(1000 + i * 1000, at(i, speed=None, track=None)) for i in range(4)])
case('no-track', 'standing: no track', [(1000 + i * 1000, at(i, speed=0.05, track=None)) for i in range(4)])
case('no-time', 'positions without a time: none for 5 s, then by the clock of the bus', [(1000 + i * 500, at(i, time=None)) for i in range(20)])
case('no-time-then-time', 'GGA before the first RMC: no date yet', [(1000, at(0, time=None)), (1500, at(0, time=None))] + [(2000 + i * 1000, at(1 + i)) for i in range(3)])
case('cold-start', 'a cold receiver: nothing seen, no fix, then the first one', [(1000, {'class': 'TPV', 'device': '/dev/gps0', 'mode': 0})] + [(2000 + i * 1000, {'class': 'TPV', 'device': '/dev/gps0', 'mode': 1, 'time': stamp(seconds[1 + i])}) for i in range(3)] + [(5000, at(4))])
case('lost', 'the fix is lost and comes back', ride(2) + [(3000, at(2, mode=1, lat=None, lon=None, altMSL=None, speed=None, track=None)), (4000, at(3, mode=1)), (5000, at(4))])
case('mode-3-nowhere', 'three dimensions and no position', changed(2, lat=None, lon=None))
case('zero-zero', '0 N 0 E is for the gate to refuse', changed(2, lat=0.0, lon=0.0))
case('lat-91', 'a latitude beyond the pole', changed(2, lat=91.0))
case('lon-181', 'a longitude beyond the date line', changed(2, lon=181.0))
case('south-west', 'the other hemispheres', [(1000, at(0, lat=-33.5, lon=-70.25)), (2000, at(1, lat=-33.5001, lon=-70.2501))])
case('track-360', 'due north as 360', changed(2, track=360.0))
case('track-minus', 'a negative track', changed(2, track=-10.0))
case('speed-minus', 'a negative speed', changed(2, speed=-1.0))
case('speed-absurd', 'faster than sound', changed(2, speed=1500.0))
case('mode-9', 'a mode that does not exist', changed(2, mode=9))
case('mode-text', 'a mode that is no number', changed(2, mode='3D'))
case('lat-text', 'a latitude that is no number', changed(2, lat='north'))
case('lat-exponent', 'numbers with an exponent', changed(2, lat=3.12304e1))
case('jump', 'a jump of 10 km and back: passed on as it came, the gate judges', changed(2, lat=31.3204))
case('frozen', 'the same place at 9.5 m/s: passed on as it came', [(1000 + i * 1000, at(i, lon=121.4737)) for i in range(5)])
full = json.dumps(at(2), separators=(',', ':'))
for cut in (1, 20, 60, 90, len(full) - 1):
    lines = ride()
    lines[2] = (lines[2][0], full[:cut])
    case('cut-%d' % cut, 'a report cut after %d characters' % cut, lines)
case('two-in-one', 'two objects in one line', [(1000, json.dumps(at(0), separators=(',', ':')) + json.dumps(at(1), separators=(',', ':'))), (2000, at(2))])
case('unknown-class', 'classes of a newer gpsd', [(1000, {'class': 'NEWS', 'device': '/dev/gps0', 'x': [1, {'y': 2}]})] + ride(3))
case('unknown-field', 'fields of a newer gpsd', changed(2, ant=1, jam=20))
case('error', 'gpsd says ERROR', [(1000, {'class': 'ERROR', 'message': 'Unrecognized request'})] + [(2000 + i * 1000, at(1 + i)) for i in range(3)])
case('other-device', 'a second receiver speaks as well', [(1000 + i * 500, at(i, device='/dev/gps%d' % (i % 2))) for i in range(8)])
case('device-gone', 'the receiver is unplugged and plugged in', ride(2) + [(3000, {'class': 'DEVICE', 'path': '/dev/gps0', 'activated': 0}), (6000, {'class': 'DEVICE', 'path': '/dev/gps0', 'activated': stamp(seconds[4]), 'driver': 'NMEA0183'}), (7000, at(6)), (8000, at(7))])
case('sky', 'satellites and hdop reach the fix', [(1000, sky(GOOD)), (1500, at(0)), (2500, at(1)), (3500, sky({2: 41, 5: 38}, hdop=7.5)), (3700, at(2)), (4700, at(3))])
case('sky-old', 'a sky view of more than ten seconds ago says nothing', [(1000, sky(GOOD)), (1500, at(0)), (12500, at(11)), (13500, at(12))])
case('sky-bad', 'satellites without a number, signals of any size', [(1000, sky({1: 400, 2: -5, 3: 0, 400: 45})), (1500, at(0)), (2500, at(1))])
case('sky-many', 'a hundred and more satellites', [(1000, sky({p: 30 + p % 10 for p in range(1, 130)})), (1500, at(0)), (2500, at(1))])


def skies(name, about, views, step=1000):
    lines = []
    for i, v in enumerate(views):
        lines += [(1000 + i * step, sky(v)), (1100 + i * step, at(i))]
    case(name, about, lines)


weak = {p: v - 25 for p, v in GOOD.items()}
skies('jammed', 'all signals 25 dB down within two seconds, and back', [GOOD, GOOD, {p: v - 6 for p, v in GOOD.items()}, weak, weak, weak, GOOD, GOOD])
skies('jammed-to-nothing', 'no satellite is left', [GOOD, GOOD, {}, {}, {}, GOOD])
skies('bridge', 'half of the sky is shaded: no jamming', [GOOD, GOOD, {p: v if p > 10 else 0 for p, v in GOOD.items()}, GOOD, GOOD])
skies('nine-db', 'all signals 9 dB down, above half: no jamming', [GOOD, GOOD, {p: v - 9 for p, v in GOOD.items()}, {p: v - 9 for p, v in GOOD.items()}, GOOD])
skies('slow-fade', 'trees: 25 dB in 25 s are no jamming', [{p: max(v - i, 0) for p, v in GOOD.items()} for i in range(26)])
skies('weak-from-start', 'an aerial that never was good', [weak, weak, weak, weak])
ant = 'device=/dev/gps0;trust_time=receiver;antenna=nmea'
case('antenna-open', 'a BeiDou module says that its antenna is open, then fine', [(1000, nmea('GPTXT,01,01,01,ANTENNA OK')), (1100, at(0)), (2000, nmea('GPTXT,01,01,01,ANTENNA OPEN')), (2100, at(1)), (3000, nmea('GPTXT,01,01,01,ANTENNA OK')), (3100, at(2))], ant)
case('antenna-short', 'u-blox says that it is shorted', [(1000, nmea('GNTXT,01,01,02,ANTSTATUS=SHORT')), (1100, at(0)), (2000, nmea('GNTXT,01,01,02,ANTSTATUS=OK')), (2100, at(1))], ant)
case('antenna-checksum', 'a wrong checksum says nothing', [(1000, '$GPTXT,01,01,01,ANTENNA OPEN*26'), (1100, at(0)), (2000, '$GPTXT,01,01,01,ANTENNA OPEN'), (2100, at(1))], ant)
case('nmea-noise', 'raw sentences, half ones, noise', [(1000, nmea('GNGGA,233001.00,3113.824,N,12128.422,E,1,09,0.9,4.5,M,8.0,M,,')), (1100, '$'), (1200, '$GPTXT'), (1300, '$GPTXT,*'), (1400, '$GPTXT,*F'), (1500, at(0)), (2500, at(1))], ant)


def main():
    for name, (about, options, lines, end) in CASES.items():
        with open(os.path.join(FOLDER, name + '.in'), 'w') as f:
            f.write('# schoolward-recording 1\n# gpsd: %s\n# driver: gpsd\n# origin: written by us\n# line: tcp\n# options: port=$PORT;%s\n# end: %d\n'
                    % (about, options, end or max(ms for ms, _ in lines) + 3000))
            for ms, line in sorted(lines, key=lambda x: x[0]):
                f.write('%d " %s\n' % (ms, line))
    print('%d recordings' % len(CASES))


if __name__ == '__main__':
    main()
