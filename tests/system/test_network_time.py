"""Three hours without a network, in simulated time (the gateway under libfaketime: its clocks, timers and pauses run
400 times as fast), and buses
whose clock is wrong. What was recorded is at the server, once, with the times it happened."""
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Gateway, Server, duty, gateway_conf, vehicle, wait_for  # noqa: E402
from network_kit import faketime  # noqa: E402
from test_gateway_uplink import end, figure, run_all  # noqa: E402
from test_network_link import of  # noqa: E402

SPEED = 400


class Clock:
    """Simulated time of the gateway: real at first, 400 times as fast inside the dead zone, then real again, some three hours ahead. libfaketime reads
    it from a file; at the switch back time leaps forward by some minutes, as after a computer's sleep."""

    def __init__(self, place):
        self.path, self.place, self.ahead_s = place.path('faketime'), place, 0
        self.say('+0')

    def say(self, text):
        with open(self.path + '.new', 'w') as f:
            f.write(text + '\n')
        os.replace(self.path + '.new', self.path)

    def env(self):
        """Of the gateway, from whose start it counts."""
        self.began = time.monotonic()
        env = faketime('+0 x1')
        del env['FAKETIME']
        return dict(env, FAKETIME_TIMESTAMP_FILE=self.path, FAKETIME_CACHE_DURATION='1')

    def hurry(self, seconds):
        self.say('+0 x%d' % SPEED)
        time.sleep(1.2 + seconds / SPEED)  # the file is looked at once a second
        self.ahead_s = int((time.monotonic() - self.began + 2.5) * (SPEED - 1))
        self.say('+%d x1' % self.ahead_s)  # the rate stays what it was if none is given
        time.sleep(1.3)

    def server_env(self):
        return faketime('+%d' % self.ahead_s)

    def now(self):
        return time.time() + self.ahead_s


STEP = 1e-6  # degrees: in hurried time fixes come closer together than they were made, and must not look like a bus that jumps


def day_of_a_bus(place, name, seconds):
    """1 Hz positions, a count a minute, an alarm every five: (file, expected rows without time)."""
    lines, want = ['# schoolward-replay 1'], []
    for i in range(seconds):
        lat = round(24.0 + i * STEP, 7)
        lines.append('%d fix %.7f 109.4 10.0 0.0 0.9 9 3' % (i * 1000, lat))
        want.append(('fix', i, lat))
        if i % 60 == 30:
            lines.append('%d count door 0 %d 0 %d 95' % (i * 1000, i % 7, 20 + i % 9))
            want.append(('count', i, 20 + i % 9))
        if i % 300 == 200:
            lines.append('%d camera dsm begin 1 %d 3 36 0' % (i * 1000, i))
            want.append(('camera', i, i))
    return place.write(name, '\n'.join(lines) + '\n'), want


def key(row):
    return row['lat'] if row['kind'] == 'fix' else row['aboard'] if row['kind'] == 'count' else row['alarm_id']


def check_set(rows, gateway, want):
    """As many of each as were recorded, each value as often, no sequence twice and none missing."""
    for lane in (0, 1):
        seq = sorted(r['seq'] for r in rows if r['gateway'] == gateway and r['lane'] == lane)
        assert seq == list(range(1, len(seq) + 1)), 'lane %d: doubled %d, missing %d' % (lane, len(seq) - len(set(seq)), (seq[-1] if seq else 0) - len(set(seq)))
    for kind in ('fix', 'count', 'camera'):
        got = sorted(key(r) for r in of(rows, gateway, kind))
        should = sorted(v for k, _, v in want if k == kind)
        assert got == should, '%s: %d of %d, or others' % (kind, len(got), len(should))


def test_three_hours_without_a_network(place):
    server = Server(place, duty([vehicle('v-zone', 'zone')]), extra='[ingest]\nrate_per_s = 1000')
    server.start()
    hours = 3 * 3600
    recording, want = day_of_a_bus(place, 'zone.ride', hours + 9000)  # seconds before the hurry count 400 times as well
    clock = Clock(place)
    g = Gateway(place, gateway_conf(place, 'zone', server.url, '[device replay]\ndriver = replay\nfile = %s\n' % recording), 'zone').start(clock.env())
    wait_for('the first fixes', 20, lambda: server.get('/api/v1/vehicles/v-zone')['position'], 0.02)
    server.program.kill()  # nobody answers from here on
    down_ms = time.time() * 1000
    g.program.wait_line('cannot be reached', 20)
    clock.hurry(hours)
    back_ms = clock.now() * 1000
    server.start(clock.server_env())
    began = time.monotonic()
    wait_for('a live position', 20, lambda: (server.get('/api/v1/vehicles/v-zone')['position'] or {'time_ms': 0})['time_ms'] > back_ms, 0.02)
    live_s = time.monotonic() - began
    wait_for('the backlog', 60, lambda: figure(g, 'acked') >= hours and int(re.findall(r'waiting=(\d+)\+', g.program.text())[-1]) < 20, 0.2)
    drained_s = time.monotonic() - began
    findings = server.get('/api/v1/findings')['findings']
    end(g)
    rows = server.journal_rows()
    fixes = sorted(of(rows, 'zone', 'fix'), key=lambda r: r['seq'])
    played = round((fixes[-1]['lat'] - 24.0) / STEP) + 1
    check_set(rows, 'zone', [w for w in want if w[1] < played or w[1] == played - 1])
    inside = [r for r in of(rows, 'zone', 'camera') if down_ms + 60000 < r['time_ms'] < back_ms - 1200000]
    steps = [b['time_ms'] - a['time_ms'] for a, b in zip(fixes, fixes[1:])]
    print('dead_zone_s=%d fixes=%d records=%d alarms_inside=%d late=%d live_again_s=%.2f drained_s=%.1f lost=0 doubled=0' %
          ((back_ms - down_ms) / 1000, len(fixes), len(rows), len(inside), len([r for r in rows if r['late']]), live_s, drained_s))
    assert back_ms - down_ms >= hours * 1000 and len(inside) >= 30 and len(fixes) >= hours
    assert all(r['late'] for r in inside), 'an alarm of an hour ago was taken for news'
    assert all(f['late'] for f in findings if f['began_ms'] < back_ms - 1200000), findings
    # each has the time it happened: in order, and over all as far apart as recorded but for the leap at the end
    assert min(steps) >= 0, min(steps)
    before = [r for r in fixes if r['time_ms'] < back_ms - 1800000]
    assert len(before) > 8000 and abs(before[-1]['time_ms'] - before[0]['time_ms'] - (len(before) - 1) * 1000) < 60000
    server.program.stop()


def recorded(place, name, began_ms, seconds):
    """Two recordings: of a receiver, which says the true time, and of a camera, whose alarms are dated by the bus's clock as they come."""
    fixes, alarms, want = ['# schoolward-replay 1'], ['# schoolward-replay 1'], []
    for i in range(seconds):
        fixes.append('%d fix %.7f 109.4 10.0 0.0 0.9 9 3' % (began_ms + i * 1000, 24.0 + i * 9e-5))
        want.append(('fix', began_ms + i * 1000, round(24.0 + i * 9e-5, 7)))
        alarms.append('%d camera dsm begin 1 %d 3 36 0' % (i * 1000, i))
        want.append(('camera', began_ms + i * 1000, i))
    return place.write(name + '.fixes', '\n'.join(fixes) + '\n'), place.write(name + '.alarms', '\n'.join(alarms) + '\n'), want


def test_wrong_clocks(place):
    """A clock of 1970, one 1024 weeks behind, one a day ahead: the receiver tells the time, and nothing is lost, doubled or dated by the wrong clock."""
    wrong = {'y1970': '@1970-01-01 00:00:40', 'weeks': '-%dd' % (1024 * 7), 'ahead': '+1d'}
    server = Server(place, duty([vehicle('v-' + n, n) for n in wrong]), extra='[ingest]\nrate_per_s = 1000').start()
    gateways = {}
    for name, text in wrong.items():
        fixes, alarms, want = recorded(place, name, int(time.time() * 1000), 9)
        c = gateway_conf(place, name, server.url, '[outbox]\ngroup_ms = 100\n[device gnss]\ndriver = replay\nfile = %s\ntimes = recorded\n'
                         '[device dsm]\ndriver = replay\nfile = %s\n' % (fixes, alarms))
        gateways[name] = (Gateway(place, c, name).start(dict(faketime(text), TZ='UTC')), want)
    for name, (g, want) in gateways.items():
        wait_for('all of ' + name, 40, lambda: figure(g, 'acked') >= len(want) and 'waiting=0+0' in g.program.text()[-1500:], 0.2)
        end(g)
    rows = server.journal_rows()
    for name, (g, want) in gateways.items():
        check_set(rows, name, want)
        assert re.search('clock set by', g.program.text()), name
        truth = {v: ms for k, ms, v in want if k == 'fix'}
        off = [abs(r['time_ms'] - truth[round(r['lat'], 7)]) for r in of(rows, name, 'fix') if r['clock'] == 4]
        assert len(off) >= 5 and max(off) < 5000, (name, off)
        happened = {v: ms for k, ms, v in want if k == 'camera'}
        # what was stored before any source of time was heard has a clock that nobody vouches for
        undated = [r for r in of(rows, name, 'camera') if r['clock'] <= 2 and abs(r['time_ms'] - happened[r['alarm_id']]) >= 5000]
        late = [abs(r['time_ms'] - happened[r['alarm_id']]) for r in of(rows, name, 'camera') if r not in undated]
        print('%s: records=%d worst_fix_ms=%d worst_alarm_ms=%d undated_alarms=%d' % (name, len(want), max(off), max(late), len(undated)))
        assert max(late) < 5000 and len(undated) <= 2, (name, late, len(undated))
    server.program.stop()


if __name__ == '__main__':
    run_all(globals())
