"""The real gateway and the real server over a bad mobile network (tests/net/tunnel): whatever the line does to packets, everything recorded arrives, once,
and a bus is back soon. Needs root."""
import os
import re
import signal
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import SECRET, Gateway, Server, duty, free_port, gateway_conf, vehicle, wait_for  # noqa: E402
from network_kit import OFFICE, Link, NameServer  # noqa: E402
from test_gateway_uplink import end, figure, run_all  # noqa: E402
from wireserver import WireServer  # noqa: E402


def ride(place, name, seconds, per_second=2, urgent_every=10, gaps=()):
    """A ride north; each fix has its own place, each alarm its own number. gaps: (second, pause) without any event."""
    lines, shift = ['# schoolward-replay 1'], 0
    for i in range(seconds * per_second):
        for at, pause in gaps:
            shift += pause * 1000 if i == at * per_second else 0
        ms = i * 1000 // per_second + shift
        lines.append('%d fix %.7f 109.4 10.0 0.0 0.9 9 3' % (ms, 24.0 + i * 9e-5))
        if urgent_every and i % urgent_every == urgent_every - 1:
            lines.append('%d camera dsm begin 1 %d 3 36 0' % (ms, i // urgent_every))
    return place.write(name, '\n'.join(lines) + '\n')


def bus(place, name, server, recording=None, speed=1, extra='', group_ms=500, host=OFFICE):
    device = '[device replay]\ndriver = replay\nfile = %s\nspeed = %g\n' % (recording, speed) if recording else ''
    return Gateway(place, gateway_conf(place, name, 'http://%s:%d' % (host, server.port), '[outbox]\ngroup_ms = %d\n%s' % (group_ms, device), extra=extra), name)


def office(place, *names, extra='ingest.rate_per_s = 1000'):
    section, value = extra.split('.', 1)
    return Server(place, duty([vehicle('v-' + n, n) for n in names]), extra='[%s]\n%s' % (section, value)).start()


def of(rows, gateway, kind):
    return [r for r in rows if r['gateway'] == gateway and r['kind'] == kind]


def check_same(server, gateway, fixes, alarms):
    """Exactly what was recorded is in the journal, once. Returns the rows."""
    rows = server.journal_rows()
    for lane in (0, 1):
        seq = [r['seq'] for r in rows if r['gateway'] == gateway and r['lane'] == lane]
        assert len(seq) == len(set(seq)), 'lane %d: %d records are doubled' % (lane, len(seq) - len(set(seq)))
        assert not seq or sorted(seq) == list(range(1, len(seq) + 1)), 'lane %d has gaps' % lane
    lats = sorted(round(r['lat'], 7) for r in of(rows, gateway, 'fix'))
    want = [round(24.0 + i * 9e-5, 7) for i in range(fixes)]
    assert lats == want, '%d of %d fixes, or others' % (len(lats), fixes)
    got = sorted(r['alarm_id'] for r in of(rows, gateway, 'camera'))
    assert got == list(range(alarms)), '%d of %d alarms, or others' % (len(got), alarms)
    return rows


def all_acked(g, fixes):
    return figure(g, 'acked') >= fixes and re.findall(r'waiting=(\d+)\+(\d+)', g.program.text())[-1] == ('0', '0')


def test_loss_delay_reorder_duplicates(place):
    with Link(place) as link:
        server = office(place, 'lossy')
        link.do('set both delay 150 jitter 30 loss 5 duplicate 2 reorder 3')
        g = link.gateway(bus(place, 'lossy', server, ride(place, 'lossy.ride', 45, per_second=4), speed=3, group_ms=200))
        wait_for('all', 90, lambda: all_acked(g, 198), 0.5)
        s = link.stats()
        end(g)
        rows = check_same(server, 'lossy', 180, 18)
        late = sorted(r['arrival_ms'] - r['time_ms'] for r in of(rows, 'lossy', 'camera'))
        print('lossy_alarm_ms_median=%d lossy_alarm_ms_max=%d packets_lost=%d doubled=%d reordered=%d' %
              (statistics.median(late), late[-1], *(s['ab'][k] + s['ba'][k] for k in ('lost', 'doubled', 'reordered'))))
        assert sum(s[way][k] for way in s for k in ('lost', 'doubled', 'reordered')) >= 5, s
        assert late[-1] < 5000, late
        server.program.stop()


def test_dead_zone_without_a_word(place):
    """Some 15 s of nothing: no error of any socket tells of it. Back within seconds, the newest position and alarms first, all the rest behind."""
    with Link(place) as link:
        server = office(place, 'zone')
        link.do('set both delay 40 jitter 10')
        g = link.gateway(bus(place, 'zone', server, ride(place, 'zone.ride', 40), group_ms=1000, extra='ping_s = 4\npong_s = 2'))
        wait_for('the first fixes', 15, lambda: server.get('/api/v1/vehicles/v-zone')['position'])
        link.do('down')
        g.program.wait_line('nothing was heard of the server|connection lost', 25)
        g.program.wait_line('a dead zone, or a firewall between', 25)
        time.sleep(6)  # deep inside: pauses have grown as far as they do
        link.do('up')
        up = time.time() * 1000

        def live():
            p = server.get('/api/v1/vehicles/v-zone')['position']
            return p and p['time_ms'] > up - 1500
        wait_for('a live position', 20, live, 0.02)
        back_s = (time.time() * 1000 - up) / 1000
        wait_for('all', 60, lambda: all_acked(g, 88), 0.5)
        end(g)
        rows = check_same(server, 'zone', 80, 8)
        first_alarm = min(r['arrival_ms'] for r in of(rows, 'zone', 'camera') if r['arrival_ms'] > up)
        print('live_again_s=%.2f first_alarm_s=%.2f' % (back_s, (first_alarm - up) / 1000))
        assert back_s < 8, back_s
        server.program.stop()


def test_nat_forgets_an_idle_connection(place):
    """A NAT that forgets after 3 s. Pings keep a connection known; one that was silent longer is a black hole, and what was sent into it comes again."""
    with Link(place) as link:
        server = office(place, 'kept', 'holed')
        link.do('idle 3000')
        g = link.gateway(bus(place, 'kept', server, extra='ping_s = 1\npong_s = 1'))
        g.program.wait_line('connected to')
        time.sleep(5)
        assert g.program.text().count('connected to') == 1 and '(try 1' not in g.program.text(), g.program.text()
        assert link.stats()['ab']['forgotten'] == 0
        end(g)
        # 2 s of positions, 5 s of nothing, then positions and an alarm into the hole
        recording = ride(place, 'holed.ride', 12, gaps=[(2, 5)])
        g = link.gateway(bus(place, 'holed', server, recording, group_ms=100, extra='ping_s = 8\npong_s = 2'))
        wait_for('positions into the hole', 20, lambda: link.stats()['ab']['forgotten'] > 0, 0.1)
        began = time.monotonic()
        link.do('idle 30000')  # the NAT stays as forgetful as to this flow: it is not known any more
        n = g.program.text().count('connected to')
        wait_for('another connection', 40, lambda: g.program.text().count('connected to') > n, 0.1)
        took = time.monotonic() - began
        wait_for('all', 30, lambda: all_acked(g, 26), 0.5)
        end(g)
        check_same(server, 'holed', 24, 2)
        print('nat_hole_s=%.1f' % took)
        assert took < 25, took  # ping 8 + pong 2, or TCP's 20 s, and the next try
        server.program.stop()


def test_half_open(place):
    """The server's machine loses its power while the bus is in a dead zone: the bus's connection is to nobody."""
    with Link(place) as link:
        server = office(place, 'half')
        g = link.gateway(bus(place, 'half', server, ride(place, 'half.ride', 20), extra='ping_s = 3\npong_s = 2'))
        wait_for('the first fixes', 15, lambda: server.get('/api/v1/vehicles/v-half')['position'])
        link.do('down')
        server.program.kill()
        server.start()
        time.sleep(1)
        link.do('up')
        began = time.monotonic()
        wait_for('another connection', 30, lambda: g.program.text().count('connected to') >= 2, 0.1)
        print('half_open_s=%.1f' % (time.monotonic() - began))
        wait_for('all', 40, lambda: all_acked(g, 44), 0.5)
        end(g)
        check_same(server, 'half', 40, 4)
        server.program.stop()


def test_name_service(place):
    with Link(place) as link:
        server = WireServer(free_port(), SECRET).start()
        names = NameServer(OFFICE, OFFICE)
        resolver = place.write('resolv.conf', 'nameserver %s\noptions timeout:3 attempts:2\n' % OFFICE)
        # the first time there is nothing to fall back on
        names.mode = 'broken'
        g = link.gateway(bus(place, 'names', server, host='bus.example.test'), resolver)
        g.program.wait_line('the name bus.example.test cannot be resolved .*check the mobile link', 15)
        names.mode, names.pause_s = 'answer', 1.5  # slow
        wait_for('the welcome', 20, lambda: server.hellos)
        wait_for('kept', 5, lambda: os.path.exists(place.path('names-state', 'uplink.last')))
        assert OFFICE in open(place.path('names-state', 'uplink.last')).read()
        # name service dies, the server does not
        names.mode = 'mute'
        n, began = len(server.hellos), time.monotonic()
        server.current().drop()
        g.program.wait_line(r'cannot be resolved \([^)]+\): trying %s, which worked last' % re.escape(OFFICE), 15)
        wait_for('back by memory', 15, lambda: len(server.hellos) > n)
        by_memory_s = time.monotonic() - began
        end(g)
        # over a restart too
        n, began = len(server.hellos), time.monotonic()
        g = link.gateway(bus(place, 'names', server, host='bus.example.test'), resolver)
        wait_for('back after a restart', 15, lambda: len(server.hellos) > n)
        print('by_memory_s=%.1f by_memory_after_restart_s=%.1f' % (by_memory_s, time.monotonic() - began))
        names.mode, names.pause_s = 'answer', 0

        def by_name():  # a question that was asked of the mute server may still be out: then it is back by memory once more
            if server.current():
                server.current().drop()
            return 'is resolved again' in g.program.text()
        wait_for('back by name', 30, by_name, 0.5)
        end(g)
        names.close()
        server.stop()


def test_thin_line_and_a_school_day(place):
    """Eight hours of positions over 256 kbit/s: soon there, and a new alarm does not wait behind them."""
    with Link(place) as link:
        server = office(place, 'thin')
        hours = ride(place, 'thin.ride', 28800, per_second=1, urgent_every=0)
        link.do('down')
        g = link.gateway(bus(place, 'thin', server, hours, speed=0))
        wait_for('eight hours to be kept', 60, lambda: figure(g, 'stored') >= 28800, 0.5)
        end(g)
        link.do('up')
        link.do('set both delay 60 jitter 10 rate 256 queue 3000')
        lines = ['# schoolward-replay 1']
        for i in range(240):
            lines.append('%d camera dsm begin 1 %d 3 36 0' % (i * 500, i))
        alarms = place.write('thin.alarms', '\n'.join(lines) + '\n')
        g = link.gateway(bus(place, 'thin', server, alarms))
        g.program.wait_line('connected to')
        began = time.monotonic()
        wait_for('the backlog', 200, lambda: int(re.findall(r'waiting=(\d+)\+', g.program.text())[-1]) < 50 if figure(g, 'stored') else False, 0.25)
        took = time.monotonic() - began
        end(g)
        rows = server.journal_rows()
        assert len(of(rows, 'thin', 'fix')) == 28800, len(of(rows, 'thin', 'fix'))
        ms = sorted(r['arrival_ms'] - r['time_ms'] for r in of(rows, 'thin', 'camera'))
        print('thin_catchup_s=%.1f thin_catchup_x=%.0f thin_alarms=%d thin_alarm_ms_median=%d thin_alarm_ms_max=%d' %
              (took, 28800 / took, len(ms), statistics.median(ms), ms[-1]))
        assert took < 300 and ms[-1] <= 3000, (took, ms[-5:])
        server.program.stop()


if __name__ == '__main__':
    run_all(globals())
