"""Fleet care with the real programs: a code becomes a secret, secrets change and end, configurations are kept or go back by themselves, orders have
results, a bus that was away gets what waited, a server restart in between changes nothing, and five short starts lead to safe mode and out again."""
import json
import os
import re
import signal
import subprocess
import sys
import time

from harness import *

NAME = 'bus-1'


class Bus(Gateway):
    def __init__(self, place, server, name=NAME, extra='', care='report_s = 1\nconfirm_s = 8\nlasted_s = 60\nsafe_s = 3600'):
        self.state = place.path(name + '-state')
        os.makedirs(self.state, mode=0o700, exist_ok=True)
        self.duty = place.write(name + '-duty.json', json.dumps(duty([vehicle(name, name)])))
        self.text = '''[gateway]
id = %s
server = %s
secret_file = %s
state_dir = %s
law_file = %s
duty_file = %s
[uplink]
retry_min_ms = 20
retry_max_ms = 400
refused_ms = 400
[care]
%s
%s''' % (name, server.url.replace('http', 'ws') + '/gateway', place.path(name + '-no-secret'), self.state,
         os.path.join(SOURCE, 'core/law/cn-national.json'), self.duty, care, extra)
        super().__init__(place, place.write(name + '.conf', self.text), name)

    def enrol(self, code):
        return subprocess.run([os.path.join(BIN, 'schoolward-gateway'), 'enrol', '--config', self.conf, '--code', code], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60, stdin=subprocess.DEVNULL)

    def secret(self):
        with open(os.path.join(self.state, 'secret')) as f:
            return f.read().strip()


def cli(server, *words, code=0):
    r = subprocess.run([os.path.join(BIN, 'schoolward-server'), '--config', server.conf, '--json'] + list(words), stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=30)
    assert r.returncode == code, (words, r.returncode, r.stderr)
    return json.loads(r.stdout) if r.stdout else None


def order_of(server, number, name=NAME):
    return next(o for o in cli(server, 'device', 'orders', name) if o['id'] == number)


def ended(server, number, seconds=20, name=NAME):
    return wait_for('the end of order %s' % number, seconds, lambda: (lambda o: o if o['state'] in ('done', 'failed') else None)(order_of(server, number, name)))


def gateway(server, name=NAME):
    return server.get('/api/v1/gateways/' + name)


def enrolment(place, server, bus):
    other = Bus(place, server, 'bus-2')
    assert cli(server, 'device', 'enrol', 'nobody', code=66) is None
    r = bus.enrol('AAAAA-BBBBB-CCCCC-DDDDD')
    assert r.returncode == 77 and b'the code is wrong' in r.stdout, r
    code = cli(server, 'device', 'enrol', NAME)['code']
    assert re.fullmatch('([0-9A-HJKMNP-TV-Z]{5}-){3}[0-9A-HJKMNP-TV-Z]{5}', code), code
    assert other.enrol(code).returncode == 77, 'the code of another bus'
    r = bus.enrol(code.lower().replace('-', ' '))
    assert r.returncode == 0, r
    assert len(bus.secret()) == 64 and os.stat(os.path.join(bus.state, 'secret')).st_mode & 0o777 == 0o600
    assert bus.enrol(code).returncode == 77, 'a code is good once'
    g = gateway(server)
    assert g['state'] == 'enrolled' and g['own_secret'] and not g['rotating'] and g['code_expires_ms'] is None, g
    for path in [server.program.log] + [os.path.join(server.state, n) for n in os.listdir(server.state) if n.startswith('devices')]:
        with open(path, 'rb') as f:
            whole = f.read()
        assert bus.secret().encode() not in whole and code.encode() not in whole and code.replace('-', '').encode() not in whole, path
    # ten wrong tries kill a code
    code = cli(server, 'device', 'enrol', 'bus-2')['code']
    for i in range(10):
        assert other.enrol('ZZZZZ-ZZZZZ-ZZZZZ-ZZZ%02d' % i).returncode == 77
    assert other.enrol(code).returncode == 77, 'the code should be dead'
    # nobody enrols in the clear over a network
    r = subprocess.run([os.path.join(BIN, 'schoolward-gateway'), 'enrol', '--config', bus.conf, '--server', 'ws://192.0.2.1/gateway', '--code', 'X'],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    assert r.returncode == 78 and b'not encrypted' in r.stdout, r
    print('enrolment: code -> secret; wrong, foreign, used and guessed codes refused')


def reports(server, bus):
    bus.start()
    bus.program.wait_line('connected to')
    wait_for('a report', 10, lambda: gateway(server)['report'])
    g = gateway(server)
    assert g['connected'] and g['vehicle'] == NAME and g['report']['boots'] == 1 and g['report']['config'] == 'factory' and not g['report']['safe_mode'], g
    assert g['report']['disk_free'] > 0 and g['report']['rss_bytes'] > 0, g
    assert [x['id'] for x in server.get('/api/v1/gateways')['gateways']] == ['bus-1', 'bus-2']
    try:
        server.get('/api/v1/gateways', token=POLICE)
        raise AssertionError('police may not')
    except urllib.error.HTTPError as e:
        assert e.code == 403
    print('report: rss_kib=%d' % (g['report']['rss_bytes'] // 1024))


def orders(server, bus):
    path = '/api/v1/vehicles/%s/orders' % NAME
    began = time.monotonic()
    o = server.post(path, {'kind': 'locate'})
    assert o['state'] == 'waiting' and o['by'] == 'officer-one', o
    o = ended(server, o['id'])
    print('an order and its result took %.0f ms, the looking included' % ((time.monotonic() - began) * 1000))
    assert o['state'] == 'failed' and o['result'] == 'no fix since the start', o
    o = ended(server, server.post(path, {'kind': 'text', 'text': '请在下一站等候'})['id'])
    assert o['state'] == 'done' and '请在下一站等候' in bus.program.text(), o
    o = ended(server, cli(server, 'order', NAME, 'restart_device', 'nobody')['order'])
    assert o['state'] == 'failed' and 'nobody' in o['result'], o
    for bad in ({'kind': 'stop_engine'}, {'kind': 'text'}, {'kind': 'text', 'text': 'a\nb'}, {'kind': 'text', 'text': 'x' * 201}, {'kind': 'locate', 'text': 'x'},
                {'kind': 'buzzer', 'number': 60001}, {}):
        try:
            server.post(path, bad)
            raise AssertionError(bad)
        except urllib.error.HTTPError as e:
            assert e.code == 400, (bad, e)
    # away when it is ordered; the server restarts meanwhile; carried out once it comes
    assert bus.program.stop() == 0
    waits = server.post(path, {'kind': 'text', 'text': 'after the restart'})['id']
    late = server.post(path, {'kind': 'buzzer', 'expires_s': 1})['id']
    assert server.program.stop() == 0
    server.start()
    wait_for('the late one to expire', 10, lambda: order_of(server, late)['state'] == 'expired')
    bus.start()
    assert ended(server, waits)['state'] == 'done'
    assert len(re.findall('after the restart', bus.program.text())) == 1
    assert order_of(server, late)['state'] == 'expired'
    assert [x['id'] for x in server.get(path + '?limit=2')['orders']] == [late, waits]
    print('orders: done, failed, refused, expired, carried over a restart of both')


def lost_results(server, bus):
    """The server dies between sending the order and hearing the result, again and again: the text is shown once."""
    path = '/api/v1/vehicles/%s/orders' % NAME
    for i in range(4):
        wait_for('the bus', 20, lambda: gateway(server)['connected'])
        number = server.post(path, {'kind': 'text', 'text': 'only once %d.' % i})['id']
        wait_for('the text', 10, lambda: 'only once %d.' % i in bus.program.text(), pause=0.001)
        server.program.kill()
        server.start()
        assert ended(server, number)['state'] == 'done'
        shown = re.findall(r'office: only once %d\.' % i, bus.program.text())
        assert len(shown) == 1, (i, shown)
    print('lost results: 4 kills of the server, each text shown once')


def rotation(server, bus):
    old = bus.secret()
    o = ended(server, cli(server, 'device', 'rotate', NAME)['order'])
    assert o['state'] == 'done', o
    wait_for('the new secret in use', 20, lambda: not gateway(server)['rotating'] and gateway(server)['connected'])
    assert bus.secret() != old
    assert 'uses its new secret' in server.program.text()
    assert old not in server.program.text() + bus.program.text() and bus.secret() not in server.program.text() + bus.program.text()
    # the old one is dead: a second gateway that has it is refused
    with open(os.path.join(bus.place.path('bus-2-state'), 'secret'), 'w') as f:
        f.write(old + '\n')
    r = Program([os.path.join(BIN, 'schoolward-gateway'), '--config', bus.conf, '--set', 'gateway.state_dir=' + bus.place.path('bus-2-state')],
                bus.place.path('old-secret.log'))
    r.wait_line('does not know gateway')
    r.kill()
    os.unlink(os.path.join(bus.place.path('bus-2-state'), 'secret'))
    print('rotation: new secret in use, old one refused')


def config(place, server, bus):
    def push(name, text):
        return cli(server, 'device', 'config', NAME, place.write(name, text))
    wait_for('the bus', 20, lambda: gateway(server)['connected'])
    good = push('good.conf', bus.text + '\n[outbox]\ngroup_ms = 1234\n')
    o = ended(server, good['order'])
    assert o['state'] == 'done' and o['result'] == 'kept', o
    wait_for('confirmed', 20, lambda: gateway(server)['bundles'][0] == {'kind': 'config', 'wanted': good['version'], 'confirmed': good['version']})
    wait_for('report of it', 10, lambda: gateway(server)['report']['config'] == 'kept')
    assert gateway(server)['report']['boots'] == 2  # a trial is not a start
    # refused before anything is touched
    pid = bus.program.child.pid
    for name, text, why in (('syntax', '[gateway\nid', 'problem'), ('unknown', bus.text + '\n[outbox]\ngruop_ms = 3\n', 'gruop_ms'),
                            ('id', bus.text.replace('id = bus-1', 'id = bus-9'), 'gateway.id may not be changed'),
                            ('state', bus.text.replace('bus-1-state', 'bus-2-state'), 'gateway.state_dir may not be changed'),
                            ('secret', bus.text.replace('bus-1-no-secret', 'elsewhere'), 'gateway.secret_file may not be changed'),
                            ('law', bus.text.replace('cn-national', 'cn-moon'), 'cn-moon'),
                            ('driver', bus.text + '\n[device x]\ndriver = warp\n', 'warp')):
        o = ended(server, push(name + '.conf', text)['order'])
        assert o['state'] == 'failed' and why in o['result'], (name, o)
    assert 'starting anew' not in bus.program.text()[bus.program.text().rindex('is kept'):]
    # good in itself, but no way to the server: it goes back by itself
    o = ended(server, push('nowhere.conf', re.sub('server = .*', 'server = ws://127.0.0.1:%d/gateway' % free_port(), bus.text))['order'], seconds=60)
    assert o['state'] == 'failed' and 'did not reach' in o['result'], o
    assert bus.program.child.pid == pid and bus.program.alive()
    assert gateway(server)['bundles'][0]['confirmed'] == good['version']
    # killed in the middle of a trial: the trial goes on, and ends
    o = push('nowhere2.conf', re.sub('server = .*', 'server = ws://127.0.0.1:%d/gateway' % free_port(), bus.text))
    bus.program.wait_line('runs on trial from now on(?s:.*)starting anew', since=bus.program.text().rindex('given up'))
    time.sleep(0.5)
    bus.program.kill()
    bus.start()
    o = ended(server, o['order'], seconds=60)
    assert o['state'] == 'failed', o
    assert gateway(server)['report']['config'] == 'kept'
    told = [json.dumps(e) for e in server.journal_rows() if e.get('kind') == 'action']
    for what in ('config_tried', 'config_kept', 'config_back', 'secret', 'boot'):
        assert any(what in e for e in told), (what, told)
    print('config: kept, 7 refused, went back by itself, also when killed in between; %d actions in the journal' % len(told))


def duties(place, server, bus):
    before = gateway(server)['report']['duty']
    # larger than many pieces: a route line of some thousand points
    line = [[round(71.40 + i * 0.00001, 7), 51.10] for i in range(12000)]
    route = {'id': 'r1', 'name_zh': '一路', 'name_en': 'Route 1', 'rural': False, 'line': line, 'segments': [], 'runs': [{'id': 'am', 'start': '07:10:00'}],
             'stops': [{'id': 's1', 'name_zh': '小学', 'name_en': 'School', 'lat': 51.10, 'lon': 71.42, 'offset_s': 300}]}
    text = json.dumps(duty([vehicle(NAME, NAME, [{'route': 'r1'}])], [route]))
    assert len(text) > 200000
    sent = cli(server, 'device', 'duty', NAME, place.write('new-duty.json', text))
    o = ended(server, sent['order'])
    assert o['state'] == 'done', o
    wait_for('the new duty reported', 10, lambda: gateway(server)['report']['duty'] not in ('', before))
    assert gateway(server)['report']['duty_version'] == sent['version']
    now = gateway(server)['report']['duty']
    for name, bad, why in (('not-json', 'hello', ''), ('other-bus', json.dumps(duty([vehicle('bus-7', 'bus-7')])), 'none has')):
        o = ended(server, cli(server, 'device', 'duty', NAME, place.write(name + '.json', bad))['order'])
        assert o['state'] == 'failed' and why in o['result'], o
    with open(os.path.join(SOURCE, 'core/law/cn-national.json')) as f:
        law = f.read()
    o = ended(server, cli(server, 'device', 'law', NAME, place.write('law.json', law))['order'])
    assert o['state'] == 'done', o
    o = ended(server, cli(server, 'device', 'law', NAME, place.write('bad-law.json', law[:-20]))['order'])
    assert o['state'] == 'failed', o
    assert bus.program.stop() == 0
    bus.start()  # and after a restart
    wait_for('the duty again', 20, lambda: gateway(server)['connected'] and gateway(server)['report']['duty'] == now and gateway(server)['report']['uptime_s'] < 10)
    print('duty: %d bytes in pieces, in force without a restart and after one; 2 duties and 1 law refused' % len(text))


def safe_mode(server, bus):
    """Kills within lasted_s: the fifth start is in safe mode, still reachable, and a good configuration gets out of it."""
    assert bus.program.stop() == 0
    for i in range(5):
        bus.start()
        bus.program.wait_line('gateway bus-1, ', since=bus.program.text().rindex('bus-1, ') if i else 0)
        wait_for('connected', 20, lambda: bus.program.alive() and gateway(server)['connected'])
        if i < 4:
            bus.program.kill()
    wait_for('safe mode reported', 20, lambda: gateway(server)['report']['safe_mode'])
    assert 'safe mode after 5 starts' in bus.program.text()
    o = ended(server, cli(server, 'order', NAME, 'text', 'still there')['order'])
    assert o['state'] == 'done', o
    print('safe mode: after 5 kills, the office still reaches the bus')


def revocation(server, bus):
    wait_for('connected', 20, lambda: gateway(server)['connected'])
    since = len(bus.program.text())
    began = time.monotonic()
    cli(server, 'device', 'revoke', NAME)
    wait_for('cut off', 10, lambda: not gateway(server)['connected'], pause=0.02)
    took = time.monotonic() - began
    bus.program.wait_line('closed by the server with 4401|does not know gateway', since=since)
    time.sleep(1.5)
    assert not gateway(server)['connected'] and gateway(server)['state'] == 'revoked'
    assert took < 3, took
    # back only by a new code
    assert bus.program.stop() == 0
    assert bus.enrol(cli(server, 'device', 'enrol', NAME)['code']).returncode == 0
    bus.start()
    wait_for('back', 20, lambda: gateway(server)['connected'] and gateway(server)['state'] == 'enrolled')
    print('revocation: cut off %.2f s after the command, refused afterwards, back by a new code' % took)


def main():
    with Place() as place:
        fleet = duty([dict(vehicle(n, n), secret_sha256='') for n in ('bus-1', 'bus-2')])
        for v in fleet['vehicles']:
            del v['secret_sha256']
        server = Server(place, fleet).start()
        bus = Bus(place, server)
        enrolment(place, server, bus)
        reports(server, bus)
        orders(server, bus)
        lost_results(server, bus)
        rotation(server, bus)
        config(place, server, bus)
        duties(place, server, bus)
        safe_mode(server, bus)
        revocation(server, bus)
        bus.program.stop()
        server.program.stop()
    print('PASS')


main()
