"""From the bus to the school's own system: a bus drives its run, and the configured webhook hears of each stop once, signed, as the parent's page does."""
import hashlib
import hmac
import http.server
import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Gateway, Place, Server, duty, finish, free_port, gateway_conf, straight_line, vehicle, wait_for  # noqa: E402

SECRET = 'webhook-secret-0123456789'


class Hook(http.server.BaseHTTPRequestHandler):
    got, refused = [], 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        if Hook.refused < 2: # the first two tries meet a sick server: nothing may be lost or doubled by that
            Hook.refused += 1
            self.send_response(503)
            self.end_headers()
            return
        Hook.got.append((dict(self.headers), body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


def signed(headers, body):
    parts = dict(p.split('=', 1) for p in headers['Schoolward-Signature'].split(','))
    right = hmac.new(SECRET.encode(), parts['t'].encode() + b'.' + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(right, parts['v1']) and abs(time.time() - int(parts['t'])) < 120


def main():
    hook = http.server.ThreadingHTTPServer(('127.0.0.1', free_port()), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    with Place() as place:
        # 3.5 km in some 50 s of real time: stops every 700 m, a run that begins now, local time of the county
        line = straight_line(points=101, step=0.0005)
        stops = [{'id': 's%d' % i, 'name_zh': '第%d站' % i, 'name_en': 'Stop %d' % i, 'lat': line[k][1], 'lon': line[k][0], 'offset_s': 10 * i}
                 for i, k in enumerate((20, 40, 60, 80), 1)]
        os.environ['TZ'] = 'Asia/Shanghai'
        time.tzset()
        route = {'id': 'r1', 'name_zh': '1号线', 'name_en': 'Route 1', 'rural': False, 'line': line, 'segments': [], 'stops': stops,
                 'runs': [{'id': 'now', 'start': time.strftime('%H:%M:%S')}]}
        secret = place.write('hook-secret', SECRET + '\n', 0o600)
        server = Server(place, duty([vehicle('bus-1', 'gw-1', [{'route': 'r1'}])], [route]),
                        '[notify]\nurl = http://127.0.0.1:%d/notices\nsecret_file = %s\n' % (hook.server_port, secret)).start()
        link = server.post('/api/v1/parent-links', {'vehicle': 'bus-1', 'stop': 's3'})
        token = link['url'].split('token=')[1]
        lines = ['# schoolward-replay 1', '0 inputs door_front=0 ignition=1', '10 count door 0 20 0 - 95']
        for i in range(100): # 35 m every half a second
            lines.append('%d fix %.7f %.7f 15 90 0.9 12 3' % (500 + i * 500, line[i][1], line[i][0]))
        rec = place.write('run.replay', '\n'.join(lines) + '\n')
        conf = gateway_conf(place, 'gw-1', server.url, '[outbox]\ngroup_ms = 200\n\n[device player]\ndriver = replay\nfile = %s\n' % rec)
        gateway = Gateway(place, conf, 'gw-1').start()
        states = set()

        def all_told():
            states.add(server.get('/api/v1/parent', token=token)['state'])
            return len(Hook.got) >= 4 and 'passed' in states
        wait_for('four notices and the parent\'s stop passed', 100, all_told, 0.3)
        view = server.get('/api/v1/parent', token=token)
        time.sleep(3) # a fifth one would come now
        assert gateway.program.stop() == 0 and server.program.stop() == 0
        bodies = [json.loads(b) for _, b in Hook.got]
        ids = [h['Schoolward-Delivery'] for h, _ in Hook.got]
        print('notices=%d stops=%s refused_first=%d signed=%d' % (len(bodies), [b['stop'] for b in bodies], Hook.refused, sum(signed(*g) for g in Hook.got)))
        print('parent_states=%s page_notices=%d' % (sorted(states), len(view['notices'])))
        finish(sorted(b['stop'] for b in bodies) == ['s1', 's2', 's3', 's4'] and len(set(ids)) == 4 and all(signed(*g) for g in Hook.got) and
               all(b['kind'] == 'arriving' and b['vehicle'] == 'bus-1' for b in bodies) and states >= {'coming', 'passed'} and
               [n['kind'] for n in view['notices']] == ['arriving'] and 'persons' not in json.dumps(view) and 's1' not in json.dumps(view))


if __name__ == '__main__':
    main()
