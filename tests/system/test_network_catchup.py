"""A day without a network, then the real server with its default limits: how fast the backlog is there, and how long a new alarm takes meanwhile.

  catchup_x     a day over the seconds until all of it is acknowledged
  alarm_ms_max  longest time from an alarm's event to its arrival at the server, of those that happened while the backlog was under way
  live_ms       from the connection to the first position that is not of the backlog
"""
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Gateway, Server, duty, gateway_conf, vehicle, wait_for  # noqa: E402
from test_gateway_uplink import end, figure, run_all  # noqa: E402

DAY = 86400


def waiting(g):
    return int(re.findall(r'waiting=(\d+)\+', g.program.text())[-1]) if figure(g, 'stored') >= 0 else 0


def measure(place, seconds=DAY):
    server = Server(place, duty([vehicle('v-day', 'day')]))
    day = place.write('day', '# schoolward-replay 1\n' + ''.join('%d fix %.7f 109.4 10.0 0.0 0.9 9 3\n' % (i * 1000, 20.0 + i * 9e-5) for i in range(seconds)))
    replay = '[device replay]\ndriver = replay\nfile = %s\n'
    g = Gateway(place, gateway_conf(place, 'day', server.url, replay % day + 'speed = 0\n'), 'day').start()
    wait_for('a day to be kept', 120, lambda: figure(g, 'stored') >= seconds, 0.5)
    end(g)
    live = ['# schoolward-replay 1']
    for i in range(1200):  # ten alarms and two positions a second
        live.append('%d camera dsm begin 1 %d 3 36 0' % (i * 100, i))
        if i % 5 == 0:
            live.append('%d fix %.7f 110.5 10.0 0.0 0.9 9 3' % (i * 100, 30.0 + i * 9e-5))
    server.start()
    g = Gateway(place, gateway_conf(place, 'day', server.url, replay % place.write('live', '\n'.join(live) + '\n')), 'day').start()
    g.program.wait_line(r'connected to \S+, \d{4,} records waiting')
    began, began_ms = time.monotonic(), time.time() * 1000
    wait_for('the backlog', 600, lambda: waiting(g) < 100, 0.1)
    took, ended_ms = time.monotonic() - began, time.time() * 1000
    wait_for('the last alarms', 20, lambda: time.time() * 1000 - ended_ms > 1000)
    end(g)
    rows = server.journal_rows()
    server.program.stop()
    fixes = [r for r in rows if r['kind'] == 'fix' and r['lon'] < 110]
    alarms = sorted(r['arrival_ms'] - r['time_ms'] for r in rows if r['kind'] == 'camera' and began_ms <= r['arrival_ms'] <= ended_ms)
    live_ms = min(r['arrival_ms'] for r in rows if r['kind'] == 'fix' and r['lon'] > 110) - began_ms
    seq = sorted(r['seq'] for r in rows if r['lane'] == 0)
    assert len(fixes) == seconds and len({r['lat'] for r in fixes}) == seconds, '%d of %d' % (len(fixes), seconds)
    assert seq == list(range(1, len(seq) + 1)), 'doubled or missing'
    assert 'too fast' not in g.program.text(), 'the server had to slow it down'
    return {'backlog_records': seconds, 'catchup_s': round(took, 2), 'catchup_x': round(seconds / took), 'alarms': len(alarms),
            'alarm_ms_median': alarms[len(alarms) // 2], 'alarm_ms_max': alarms[-1], 'live_ms': round(live_ms)}


def test_a_day(place):
    m = measure(place)
    print(' '.join('%s=%s' % kv for kv in m.items()))
    assert m['catchup_x'] >= 50, m
    assert m['alarms'] >= 5 and m['alarm_ms_max'] <= 1000, m
    assert m['live_ms'] <= 3000, m


if __name__ == '__main__':
    run_all(globals())
