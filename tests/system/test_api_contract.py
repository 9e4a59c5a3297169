"""The HTTP interface of a real server fed by a real gateway: every answer is held against the OpenAPI document the server itself gives, a track must be
exactly the recording that was played, and what a role may not see stays unseen.

The schema checker below is small on purpose: it knows the words the document uses and refuses a document that uses others.
"""
import gzip
import hashlib
import json
import os
import re
import sqlite3
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import OFFICER, POLICE, Gateway, Place, Server, duty, finish, gateway_conf, straight_line, vehicle, wait_for  # noqa: E402

KNOWN = {'type', 'required', 'properties', 'additionalProperties', 'enum', 'items', 'anyOf', '$ref', 'minItems', 'maxItems', 'pattern', 'minimum', 'maximum',
         'maxLength', 'format', 'description'}
TYPES = {'object': dict, 'array': list, 'string': str, 'boolean': bool, 'null': type(None), 'integer': int, 'number': (int, float)}


def is_type(value, name):
    if isinstance(value, bool):
        return name == 'boolean'
    return isinstance(value, TYPES[name])


def check(value, schema, doc, at='$'):
    """All problems of a value, as a list of texts."""
    unknown = set(schema) - KNOWN
    assert not unknown, 'the document uses %s, which this checker does not know' % unknown
    if '$ref' in schema:
        target = doc
        for part in schema['$ref'].lstrip('#/').split('/'):
            target = target[part]
        return check(value, target, doc, at)
    if 'anyOf' in schema:
        tries = [check(value, s, doc, at) for s in schema['anyOf']]
        return [] if any(not t for t in tries) else min(tries, key=len)
    problems = []
    if 'type' in schema:
        names = schema['type'] if isinstance(schema['type'], list) else [schema['type']]
        if not any(is_type(value, n) for n in names):
            return ['%s: %r is not %s' % (at, value, '/'.join(names))]
    if 'enum' in schema and value not in schema['enum']:
        problems.append('%s: %r is none of %s' % (at, value, schema['enum']))
    if isinstance(value, str) and 'pattern' in schema and not re.search(schema['pattern'], value):
        problems.append('%s: %r does not match %s' % (at, value, schema['pattern']))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < schema.get('minimum', value) or value > schema.get('maximum', value):
            problems.append('%s: %r is out of range' % (at, value))
    if isinstance(value, dict):
        problems += ['%s: %s is missing' % (at, n) for n in schema.get('required', []) if n not in value]
        for name, member in value.items():
            if name in schema.get('properties', {}):
                problems += check(member, schema['properties'][name], doc, at + '.' + name)
            elif schema.get('additionalProperties') is False:
                problems.append('%s: %s is not in the document' % (at, name))
    if isinstance(value, list):
        if not schema.get('minItems', 0) <= len(value) <= schema.get('maxItems', len(value)):
            problems.append('%s: %d items' % (at, len(value)))
        for i, item in enumerate(value):
            problems += check(item, schema.get('items', {}), doc, '%s[%d]' % (at, i))
    return problems


def test_the_checker():
    """A checker that finds nothing is worth nothing."""
    doc = {'s': {'T': {'type': 'object', 'required': ['a'], 'additionalProperties': False, 'properties': {'a': {'type': ['integer', 'null']},
           'b': {'type': 'array', 'maxItems': 1, 'items': {'enum': ['x']}}}}}}
    ref = {'$ref': '#/s/T'}
    assert check({'a': 1, 'b': ['x']}, ref, doc) == [] and check({'a': None}, ref, doc) == []
    for bad in ({}, {'a': True}, {'a': 1.5}, {'a': '1'}, {'a': 1, 'c': 2}, {'a': 1, 'b': ['y']}, {'a': 1, 'b': ['x', 'x']}, [], None):
        assert check(bad, ref, doc), bad


class Caller:
    """Asks, and holds every answer against the document."""

    def __init__(self, server):
        self.server, self.doc, self.seen, self.problems, self.answers = server, None, {}, [], 0
        self.doc = self.raw('GET', '/api/v1/openapi.json', None)[2]

    def raw(self, method, path, token=OFFICER, body=None, headers=None):
        headers = dict(headers or {})
        if token:
            headers['Authorization'] = 'Bearer ' + token
        data = None
        if body is not None:
            data, headers['Content-Type'] = json.dumps(body).encode(), 'application/json'
        request = urllib.request.Request(self.server.url + path, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                status, head, text = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as e:
            status, head, text = e.code, e.headers, e.read()
        kind = (head.get('Content-Type') or '').split(';')[0]
        return status, head, json.loads(text) if kind == 'application/json' and text else text

    def operation(self, method, path):
        path = path.split('?')[0]
        for pattern, item in self.doc['paths'].items():
            if method.lower() in item and re.fullmatch(re.sub(r'\\{[^}]*\\}', '[^/]+', re.escape(pattern)), path):
                return pattern, item[method.lower()]
        raise AssertionError('%s %s is not in the document' % (method, path))

    def ask(self, method, path, token=OFFICER, body=None, want=200):
        status, head, answer = self.raw(method, path, token, body)
        assert status == want, '%s %s: %d instead of %d: %r' % (method, path, status, want, answer)
        pattern, operation = self.operation(method, path)
        self.seen.setdefault((method, pattern), set()).add(status)
        assert str(status) in operation['responses'], '%s %s: %d is not in the document' % (method, pattern, status)
        response = operation['responses'][str(status)]
        if '$ref' in response:
            response = self.doc['components']['responses'][response['$ref'].split('/')[-1]]
        self.answers += 1
        if 'content' in response:
            media, content = next(iter(response['content'].items()))
            assert (head.get('Content-Type') or '') == media, '%s %s: %s instead of %s' % (method, path, head.get('Content-Type'), media)
            if media == 'application/json':
                self.problems += ['%s %s: %s' % (method, path, p) for p in check(answer, content['schema'], self.doc)]
        assert head.get('Content-Length') is not None or status == 204
        assert head.get('X-Content-Type-Options') == 'nosniff' and "default-src 'self'" in head.get('Content-Security-Policy', '')
        return answer


def make_map(path):
    with sqlite3.connect(path) as db:
        db.executescript('CREATE TABLE metadata (name text, value text); CREATE TABLE tiles (zoom_level integer, tile_column integer, tile_row integer, '
                         'tile_data blob);')
        db.executemany('INSERT INTO metadata VALUES (?, ?)', [('name', 'Test'), ('format', 'pbf'), ('minzoom', '0'), ('maxzoom', '2'),
                                                              ('bounds', '-10,-10,10,10'), ('attribution', 'nobody')])
        db.execute('INSERT INTO tiles VALUES (1, 0, 1, ?)', (gzip.compress(b'north-west'),))


LEAD_MS = 2000   # the uplink connects meanwhile: what was stored before that goes as backlog
SECONDS = 26


def recording(line):
    """Doors close on 52 persons where 40 are allowed, seen by counter and camera; then it drives too fast, and somebody presses SOS."""
    out, fixes, driven = ['# schoolward-replay 1', '0 health ok 0'], [], 0
    out.append('%d inputs door_front=1 ignition=1 sos=0' % LEAD_MS)
    out.append('%d count door 0 50 0 - 95' % (LEAD_MS + 100))
    for i in range(SECONDS):
        now = LEAD_MS + 200 + i * 1000
        speed = 8.0 if i < 10 else 18.5  # 11 % over 60 km/h: medium, and not for the police
        lon, lat = round(line[0][0] + driven / 69900, 7), line[0][1]  # metres to a degree at 51.1 north
        driven += speed
        fixes.append((now, lat, lon, speed, 90.0, 3))
        out.append('%d fix %.7f %.7f %.3f 90 0.9 12 3' % (now, lat, lon, speed))
        if i == 2:
            out.append('%d inputs door_front=0 ignition=1 sos=0' % (now + 300))
        if i % 5 == 0:
            out.append('%d count camera 0 - - 52 90' % (now + 400))
        if i == 22:
            out.append('%d inputs door_front=0 ignition=1 sos=1' % (now + 500))
    return '\n'.join(out) + '\n', fixes


def compare_track(caller, fixes):
    """The track is what was played, whole and in pages; times are those of the playing, a second apart."""
    def whole():
        until = int(time.time() * 1000)
        t = caller.ask('GET', '/api/v1/vehicles/bus-1/track?from_ms=%d&to_ms=%d' % (until - 600000, until))
        return t if len(t['points']) >= len(fixes) else None
    fixes = fixes[2:]  # the first two of a receiver that was just switched on are not believed
    track = wait_for('the whole track', 10, whole)  # the screen shows a fix before its group is on disk
    now = track['to_ms']
    assert not track['truncated']
    wrong = [(p, f) for p, f in zip(track['points'], fixes)
             if abs(p[1] - f[1]) > 1e-7 or abs(p[2] - f[2]) > 1e-7 or abs(p[3] - f[3]) > 1e-3 or abs(p[4] - f[4]) > 0.01 or p[5] != f[5]]
    assert len(track['points']) == len(fixes) and not wrong, (len(track['points']), len(fixes), wrong[:3])
    steps = [b[0] - a[0] for a, b in zip(track['points'], track['points'][1:])]
    assert all(500 <= s <= 1500 for s in steps), steps
    assert [d[1] for d in track['doors']] == [1, 0], track['doors']
    assert track['points'][0][0] < track['doors'][1][0] < track['points'][1][0], track['doors']
    assert track['counts'] and track['counts'][-1][1] == 52, track['counts']
    steps = track['limits']  # on change only, from the first fix on
    assert steps and steps[0][0] == track['points'][0][0] and all(a[1] != b[1] and a[0] < b[0] for a, b in zip(steps, steps[1:])), steps
    assert steps[-1][1] == caller.ask('GET', '/api/v1/vehicles/bus-1')['limit_kmh'] == 60, steps  # R617 art. 35: pupils aboard
    later = caller.ask('GET', '/api/v1/vehicles/bus-1/track?from_ms=%d&to_ms=%d' % (track['points'][20][0], now))
    assert later['points'] == track['points'][20:]
    assert later['doors'] == [[later['from_ms'], 0]] and later['counts'][0][:2] == [later['from_ms'], 52]  # known at its start from before
    paged, at = [], now - 600000
    for _ in range(20):
        page = caller.ask('GET', '/api/v1/vehicles/bus-1/track?from_ms=%d&to_ms=%d&limit=7' % (at, now))
        paged += page['points']
        if not page['truncated']:
            break
        at = page['points'][-1][0] + 1
    assert paged == track['points']
    return len(paged)


def findings_of(caller, token=OFFICER):
    found, cursor = [], ''
    while True:
        page = caller.ask('GET', '/api/v1/findings?limit=2' + cursor, token)
        found += page['findings']
        if not page['next_cursor']:
            return found
        cursor = '&cursor=' + page['next_cursor']


def pictures(caller, found, hidden):
    """A picture in the time of a police finding is the police's to see, one of another day is the officer's alone."""
    mine = next(f for f in found if 'POL' in f['audience'])
    folder = os.path.join(caller.server.state, 'media')
    shots = {}
    with sqlite3.connect(os.path.join(folder, 'footage.db'), timeout=10) as db:
        for name, at in (('near', mine['began_ms'] + 1000), ('far', mine['began_ms'] - 86400000)):
            body = b'\xff\xd8\xff\xe0' + name.encode()
            sha = hashlib.sha256(body).hexdigest()
            os.makedirs(os.path.join(folder, 'gw-1'), exist_ok=True)
            with open(os.path.join(folder, 'gw-1', sha + '.jpg'), 'wb') as f:
                f.write(body)
            db.execute('INSERT INTO footage VALUES (?, ?, ?, ?, 7, 8, 101, 0)', (bytes.fromhex(sha), 'gw-1', at, len(body)))
            shots[name] = (sha, body)
    for token in (OFFICER, POLICE):
        shown = caller.ask('GET', '/api/v1/findings/%s/media' % mine['id'], token)['media']
        assert [m['sha256'] for m in shown] == [shots['near'][0]] and shown[0]['unit'] == 'dsm' and shown[0]['type'] == 'picture', shown
        assert caller.ask('GET', '/api/v1/media/' + shots['near'][0], token) == shots['near'][1]
    assert caller.ask('GET', '/api/v1/media/' + shots['far'][0]) == shots['far'][1]
    caller.ask('GET', '/api/v1/media/' + shots['far'][0], POLICE, want=404)
    caller.ask('GET', '/api/v1/media/' + '0' * 64, want=404)
    caller.ask('GET', '/api/v1/media/' + '0' * 63, want=404)
    caller.ask('GET', '/api/v1/media/' + shots['near'][0], None, want=401)
    assert caller.raw('GET', '/api/v1/media/' + shots['near'][0])[1].get('Cache-Control') == 'no-store'
    for f in hidden:
        caller.ask('GET', '/api/v1/findings/%s/media' % f['id'], POLICE, want=404)


def cases(caller):
    """The officer sees all, the police what is addressed to them; acknowledged once, by the first."""
    found = findings_of(caller)
    police = findings_of(caller, POLICE)
    assert len({f['id'] for f in found}) == len(found)
    assert {f['id'] for f in police} == {f['id'] for f in found if 'POL' in f['audience']} and police and len(police) < len(found)
    hidden = [f for f in found if 'POL' not in f['audience']]
    for f in hidden:
        for what in ('', '/evidence'):
            caller.ask('GET', '/api/v1/findings/%s%s' % (f['id'], what), POLICE, want=404)
        caller.ask('POST', '/api/v1/findings/%s/acknowledgements' % f['id'], POLICE, {}, want=404)
    for f in found:
        cited = [(c['code'], c['article']) for c in f['citations']]
        assert cited and len(set(cited)) == len(cited), f
        assert f['title_zh'] and f['title_en'] and f['law']['pack'] == 'cn-national', f
        evidence = caller.ask('GET', '/api/v1/findings/%s/evidence' % f['id'])
        assert evidence['from_ms'] == f['began_ms'] - 60000 and evidence['to_ms'] - evidence['from_ms'] <= 900000
        assert any(p[0] >= f['began_ms'] for p in evidence['points']), f['rule']
    first = police[0]
    caller.ask('POST', '/api/v1/findings/%s/acknowledgements' % first['id'], POLICE, {'note': '已派警'})
    again = caller.ask('POST', '/api/v1/findings/%s/acknowledgements' % first['id'], OFFICER, {})
    assert again['ack']['by'] == 'police-one' and again['ack']['note'] == '已派警', again['ack']
    for rule in {f['rule'] for f in found}:
        only = caller.ask('GET', '/api/v1/findings?rule=' + rule)['findings']
        assert only and all(f['rule'] == rule for f in only)
    assert sorted(f['id'] for f in caller.ask('GET', '/api/v1/findings?state=open')['findings']) == sorted(f['id'] for f in found if f['state'] == 'open')
    return found, hidden, first['id']


def files(caller):
    status, head, body = caller.raw('GET', '/tiles/test/1/0/0', None, headers={'Accept-Encoding': 'gzip'})
    assert status == 200 and head['Content-Encoding'] == 'gzip' and gzip.decompress(body) == b'north-west'
    assert caller.raw('GET', '/tiles/test/1/0/0', None, headers={'Accept-Encoding': 'gzip', 'If-None-Match': head['ETag']})[0] == 304
    status, head, body = caller.raw('GET', '/tiles/test/1/0/0', None)
    assert status == 200 and 'Content-Encoding' not in head and body == b'north-west'
    status, head, body = caller.raw('GET', '/officer/', None, headers={'Accept-Encoding': 'gzip'})
    assert status == 200 and gzip.decompress(body) == b'<!doctype html>' and head['Vary'] == 'accept-encoding'
    assert caller.raw('GET', '/officer/', None)[2] == b'<!doctype html>'
    status, head, body = caller.raw('GET', '/assets/app-Ab3_9xYz.js', None)
    assert 'immutable' in head['Cache-Control'] and head['Content-Type'].startswith('text/javascript')
    for path in ('/../server.conf', '/%2e%2e/server.conf', '/assets/../../server-tokens', '/.hidden', '/officer/..%2f..%2fserver-tokens'):
        status, _, body = caller.raw('GET', path, None)
        assert status in (400, 403, 404), (path, status, body[:80])


def main():
    test_the_checker()
    with Place() as place:
        os.makedirs(place.path('web', 'officer'))
        os.makedirs(place.path('web', 'assets'))
        os.makedirs(place.path('maps'))
        place.write('web/officer/index.html', '<!doctype html>')
        with open(place.path('web/officer/index.html.gz'), 'wb') as f:
            f.write(gzip.compress(b'<!doctype html>'))
        place.write('web/assets/app-Ab3_9xYz.js', 'x')
        make_map(place.path('maps', 'test.mbtiles'))
        line = straight_line(points=200, step=0.0002)
        local_s = int(time.time() + 8 * 3600) % 86400
        begun_s = max(0, local_s - 90)
        route = {'id': 'r1', 'name_zh': '一路', 'name_en': 'Route 1', 'rural': False, 'line': line,
                 'segments': [{'from_m': 0, 'to_m': 2000, 'posted_kmh': 60, 'road': 'city_one_lane'}],
                 'stops': [{'id': 's1', 'name_zh': '甲', 'name_en': 'First', 'lat': line[0][1], 'lon': line[0][0], 'offset_s': 0},
                           {'id': 's2', 'name_zh': '乙', 'name_en': 'Second', 'lat': line[-1][1], 'lon': line[-1][0], 'offset_s': 600}],
                 'runs': [{'id': 'am', 'start': '%02d:%02d:%02d' % (begun_s // 3600, begun_s // 60 % 60, begun_s % 60)}]}
        fleet = duty([vehicle('bus-1', 'gw-1', [{'route': 'r1'}]), vehicle('bus-2', 'gw-2')], [route])
        server = Server(place, fleet, 'web_dir = %s\nmaps_dir = %s\n' % (place.path('web'), place.path('maps'))).start()
        caller = Caller(server)
        text, fixes = recording(line)
        rec = place.write('bus.replay', text)
        conf = gateway_conf(place, 'gw-1', server.url, '[device player]\ndriver = replay\nfile = %s\n' % rec)
        gateway = Gateway(place, conf, 'gw-1').start()
        wait_for('the whole recording to arrive', 60,
                 lambda: (lambda p: p and abs(p['lon'] - fixes[-1][2]) < 1e-7)(caller.ask('GET', '/api/v1/vehicles/bus-1')['position']))
        wait_for('three findings', 20, lambda: len(caller.ask('GET', '/api/v1/findings')['findings']) >= 3)

        points = compare_track(caller, fixes)
        found, hidden, acked = cases(caller)
        pictures(caller, found, hidden)
        vehicles = caller.ask('GET', '/api/v1/vehicles')['vehicles']
        bus = vehicles[0]
        assert bus['sos'] and bus['doors_open'] is False and bus['aboard']['persons'] == 52 and bus['limit_kmh'] is not None, bus
        assert vehicles[1]['freshness'] == 'never' and vehicles[1]['position'] is None
        for path in ('/healthz', '/readyz', '/api/v1/session', '/api/v1/routes', '/api/v1/routes/r1', '/api/v1/vehicles/bus-2', '/api/v1/maps',
                     '/api/v1/findings?severity=critical&vehicle=bus-1&from_ms=1', '/metrics', '/tiles/test/1/0/0', '/api/v1/openapi.json'):
            caller.ask('GET', path)
        wait_for('a report of the gateway', 20, lambda: caller.ask('GET', '/api/v1/gateways')['gateways'][0]['report'])
        assert caller.ask('GET', '/api/v1/gateways/gw-1')['report']['devices'][0]['name'] == 'player'
        order = caller.ask('POST', '/api/v1/vehicles/bus-1/orders', OFFICER, {'kind': 'locate'})
        assert order['kind'] == 'locate' and caller.ask('GET', '/api/v1/vehicles/bus-1/orders')['orders'][0]['id'] == order['id']
        caller.ask('GET', '/tiles/test/2/0/0', want=204)
        for path in ('/tiles/test/2/9/0', '/api/v1/vehicles/none', '/api/v1/routes/none', '/api/v1/findings/0123456789abcdef'):
            caller.ask('GET', path, want=404)
        caller.ask('GET', '/api/v1/findings?surprise=1', want=400)
        caller.ask('GET', '/api/v1/vehicles', None, want=401)
        caller.ask('GET', '/api/v1/vehicles', POLICE, want=403)
        caller.ask('POST', '/api/v1/live-tickets', POLICE, {})
        link = caller.ask('POST', '/api/v1/parent-links', OFFICER, {'vehicle': 'bus-1', 'stop': 's2', 'valid_until_ms': int(time.time() * 1000) + 3600000})
        token = link['url'].split('#token=')[1]
        parent = caller.ask('GET', '/api/v1/parent', token)
        assert parent['plate'] == bus['plate'] and parent['state'] != 'not_running' and 'First' not in json.dumps(parent), parent
        caller.ask('GET', '/api/v1/parent', OFFICER, want=403)
        files(caller)
        assert 'schoolward_http_requests_total' in server.metrics() and 'schoolward_alert_ack_seconds_count 1' in server.metrics()

        missing = [(m.upper(), p) for p, item in caller.doc['paths'].items() for m in item if (m.upper(), p) not in caller.seen]
        before = {f['id']: f for f in findings_of(caller)}
        server.program.kill()  # no orderly end: what was answered is on disk
        server.start()
        after = {f['id']: f for f in findings_of(caller)}
        assert after[acked]['ack'] == before[acked]['ack'] and set(after) == set(before)
        assert gateway.program.stop() == 0
        assert server.program.stop() == 0
        print('answers=%d held against %d schemas, problems=%d, operations never asked=%d' % (
            caller.answers, len(caller.doc['components']['schemas']), len(caller.problems), len(missing)))
        print('track points=%d equal to the recording; findings=%s, hidden from police=%d' % (points, sorted(f['rule'] for f in found), len(hidden)))
        for p in caller.problems[:20]:
            print('  ', p)
        if missing:
            print('   not asked:', missing)
        finish(not caller.problems and not missing)


if __name__ == '__main__':
    main()
