"""A real bus day (GTFS schedule and shapes, one day of positions) through the server: the route's own buses on their own shape raise no RTE-1 unless they
truly left it. Prints how many there are and draws each: build/test/rte/*.svg, the shape, the bus's fixes, those off the corridor in red.

The check is independent of the server's geometry: distances are computed here, by brute force.
"""
import csv
import json
import math
import os
import subprocess
import sys
from collections import defaultdict

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BIN, SOURCE, Place, Server, data, finish, wait_for  # noqa: E402

DEG_M = 6371008.8 * math.pi / 180


def offset_m(line, lat, lon):
    k = math.cos(math.radians(lat)) * DEG_M
    best = float('inf')
    for (lon1, lat1), (lon2, lat2) in zip(line, line[1:]):
        ax, ay, bx, by = (lon1 - lon) * k, (lat1 - lat) * DEG_M, (lon2 - lon) * k, (lat2 - lat) * DEG_M
        dx, dy = bx - ax, by - ay
        n = dx * dx + dy * dy
        t = max(0.0, min(1.0, -(ax * dx + ay * dy) / n)) if n > 0 else 0.0
        best = min(best, math.hypot(ax + t * dx, ay + t * dy))
    return best


def draw(path, title, line, fixes, off):
    lons, lats = [p[0] for p in line] + [f[2] for f in fixes], [p[1] for p in line] + [f[1] for f in fixes]
    k = math.cos(math.radians(sum(lats) / len(lats)))
    w, h = (max(lons) - min(lons)) * k, max(lats) - min(lats)
    scale = 900 / max(w, h, 1e-6)

    def xy(lon, lat):
        return '%.1f,%.1f' % (20 + (lon - min(lons)) * k * scale, 50 + (max(lats) - lat) * scale)
    with open(path, 'w', encoding='utf-8') as f:
        f.write('<svg xmlns="http://www.w3.org/2000/svg" width="960" height="%d" font-family="sans-serif">' % (h * scale + 90))
        f.write('<rect width="100%%" height="100%%" fill="white"/><text x="20" y="30" font-size="16">%s</text>' % title)
        f.write('<polyline fill="none" stroke="#0b5cad" stroke-width="4" opacity="0.5" points="%s"/>' % ' '.join(xy(*p) for p in line))
        f.write('<polyline fill="none" stroke="#6e7781" stroke-width="1" points="%s"/>' % ' '.join(xy(x[2], x[1]) for x in fixes))
        for x in fixes:
            cx, cy = xy(x[2], x[1]).split(',')
            f.write('<circle cx="%s" cy="%s" r="%d" fill="%s"/>' % (cx, cy, 5 if x[0] in off else 2, '#b3142a' if x[0] in off else '#32383f'))
        f.write('</svg>')


def main():
    gtfs, avl = data('wmata', 'gtfs'), data('wmata', 'avl_2026-02-16.csv')
    pictures = os.path.join(os.path.dirname(BIN), '..', 'test', 'rte')
    os.makedirs(pictures, exist_ok=True)
    with Place() as place:
        fleet_file = place.path('fleet.json')
        sim = os.path.join(BIN, 'schoolward-sim')
        subprocess.run([sim, 'replay', '--gtfs', gtfs, '--avl', avl, '--write-fleet', fleet_file], check=True)
        with open(fleet_file, encoding='utf-8') as f:
            fleet = json.load(f)
        server = Server(place, fleet, '[ingest]\nrate_per_s = 100000\nbytes_per_s = 1000000000\n').start()
        subprocess.run([sim, 'replay', '--gtfs', gtfs, '--avl', avl, '--url', server.url.replace('http', 'ws') + '/gateway', '--fast'], check=True, timeout=300)
        with open(avl, encoding='utf-8') as f:
            rows = list(csv.DictReader(f))
        sent = {(r['vehicle_id'], int(r['timestamp'])) for r in rows}
        spans = defaultdict(list)
        for r in rows:
            spans[r['vehicle_id']].append(int(r['timestamp']))
        names = {v['id']: v for v in fleet['vehicles']}

        def stored():
            n = 0
            for v in fleet['vehicles']:
                t = server.get('/api/v1/vehicles/%s/track?from_ms=%d&to_ms=%d&limit=100000' % (v['id'], min(map(min, spans.values())) * 1000, max(map(max, spans.values())) * 1000 + 1000))
                n += len(t['points'])
            return n
        count = stored()
        findings, cursor = [], ''
        while True:
            page = server.get('/api/v1/findings?rule=RTE-1&limit=500' + cursor)
            findings += page['findings']
            if not page['next_cursor']:
                break
            cursor = '&cursor=' + page['next_cursor']
        routes = {r['id']: r for r in fleet['routes']}
        unjust = 0
        for n, f in enumerate(findings):
            vehicle = names[f['vehicle']]
            line = None
            for a in vehicle['routes']:
                if a.get('from_ms', -math.inf) <= f['began_ms'] < a.get('to_ms', math.inf):
                    line = routes[a['route']]['line']
            end = f['closed_ms'] or f['opened_ms'] + 600000
            track = server.get('/api/v1/vehicles/%s/track?from_ms=%d&to_ms=%d&limit=100000' % (f['vehicle'], f['began_ms'] - 600000, end + 300000))['points']
            off = {p[0] for p in track if f['began_ms'] <= p[0] <= end and line is not None and offset_m(line, p[1], p[2]) > 60}
            span_s = (f['opened_ms'] - f['began_ms']) / 1000
            inside = [p for p in track if f['began_ms'] <= p[0] <= f['opened_ms'] and (line is None or offset_m(line, p[1], p[2]) <= 55)]
            just = line is not None and len(off) >= 2 and span_s >= 60 and not inside
            unjust += not just
            worst = max((offset_m(line, p[1], p[2]) for p in track if f['began_ms'] <= p[0] <= end), default=0) if line else 0
            title = '%s %s from %d, %.0f s, worst %.0f m, %s' % (f['vehicle'], f['route']['id'] if f['route'] else '-', f['began_ms'] // 1000, (end - f['began_ms']) / 1000, worst, 'truly off' if just else 'NOT off')
            print(title)
            draw(os.path.join(pictures, 'rte-%02d.svg' % n), title, line or [], [(p[0], p[1], p[2]) for p in track], off)
        print('vehicles=%d fixes_sent=%d fixes_stored=%d' % (len(fleet['vehicles']), len(sent), count))
        print('rte1=%d truly_off=%d unjust=%d pictures=%s' % (len(findings), len(findings) - unjust, unjust, os.path.normpath(pictures)))
        server.program.stop()
        finish(unjust == 0 and count == len(sent))


if __name__ == '__main__':
    main()
