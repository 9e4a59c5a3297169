"""A real bus day (GTFS schedule and shapes, one day of positions) through the server: the route's own buses on their own shape raise no RTE-1 unless they
truly left it. Prints how many there are and draws each, and each stretch off the corridor that is no finding: build/test/rte/*.svg, the shape, the bus's
fixes, those off the corridor in red.

The check is independent of the server's geometry: distances are computed here, by brute force. The control: the same day with every approved line moved
200 m north must raise findings on every vehicle, or the silence of the first run would mean nothing.
"""
import csv
import json
import math
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BIN, SOURCE, Place, Server, data, finish  # noqa: E402

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


CORRIDOR_M = 60 + 4 * 5  # urban, and the term of a fix that does not say its hdop (law pack: hdop_unknown, hdop_m)
TRAVEL_M = 200
HOLD_S = 60


def line_at(fleet, vehicle, t_ms):
    routes = {r['id']: r for r in fleet['routes']}
    for v in fleet['vehicles']:
        if v['id'] == vehicle:
            for a in v['routes']:
                if a.get('from_ms', -math.inf) <= t_ms < a.get('to_ms', math.inf):
                    return routes[a['route']]['line']
    return None


def stretches(fleet, vehicle, points):
    """Consecutive fixes off the corridor: (points, seconds, metres travelled, worst offset)."""
    found, run = [], []
    for p in points + [None]:
        line = line_at(fleet, vehicle, p[0]) if p else None
        off = offset_m(line, p[1], p[2]) if line else 0
        if off > CORRIDOR_M:
            run.append((p, off))
            continue
        if len(run) > 1:
            moved = sum(math.hypot((b[0][1] - a[0][1]) * DEG_M, (b[0][2] - a[0][2]) * DEG_M * math.cos(math.radians(a[0][1]))) for a, b in zip(run, run[1:]))
            found.append(([x[0] for x in run], (run[-1][0][0] - run[0][0][0]) / 1000, moved, max(x[1] for x in run)))
        run = []
    return found


def day(place, name, fleet, gtfs, avl):
    """One day through a server: (tracks by vehicle, RTE-1 findings)."""
    sim = os.path.join(BIN, 'schoolward-sim')
    server = Server(place, fleet, '[ingest]\nrate_per_s = 100000\nbytes_per_s = 1000000000\n', name).start()
    subprocess.run([sim, 'replay', '--gtfs', gtfs, '--avl', avl, '--url', server.url.replace('http', 'ws') + '/gateway', '--fast'], check=True, timeout=300,
                   stdout=subprocess.DEVNULL)
    with open(avl, encoding='utf-8') as f:
        times = [int(r['timestamp']) for r in csv.DictReader(f)]
    span = 'from_ms=%d&to_ms=%d&limit=20000' % (min(times) * 1000, max(times) * 1000 + 1)
    tracks = {v['id']: server.get('/api/v1/vehicles/%s/track?%s' % (v['id'], span))['points'] for v in fleet['vehicles']}
    findings, cursor = [], ''
    while True:
        page = server.get('/api/v1/findings?rule=RTE-1&limit=500' + cursor)
        findings += page['findings']
        if not page['next_cursor']:
            break
        cursor = '&cursor=' + page['next_cursor']
    server.program.stop()
    return tracks, findings


def main():
    gtfs, avl = data('wmata', 'gtfs'), data('wmata', 'avl_2026-02-16.csv')
    pictures = os.path.normpath(os.path.join(BIN, '..', '..', 'test', 'rte'))
    os.makedirs(pictures, exist_ok=True)
    with Place() as place:
        fleet_file = place.path('fleet.json')
        subprocess.run([os.path.join(BIN, 'schoolward-sim'), 'replay', '--gtfs', gtfs, '--avl', avl, '--write-fleet', fleet_file], check=True)
        with open(fleet_file, encoding='utf-8') as f:
            fleet = json.load(f)
        tracks, findings = day(place, 'day', fleet, gtfs, avl)
        with open(avl, encoding='utf-8') as f:
            sent = len({(r['vehicle_id'], r['timestamp']) for r in csv.DictReader(f)})
        stored = sum(len(t) for t in tracks.values())
        unjust = 0
        for n, f in enumerate(findings):
            end = f['closed_ms'] or f['opened_ms'] + 600000
            here = [p for p in tracks[f['vehicle']] if f['began_ms'] <= p[0] <= f['opened_ms']]
            offs = [offset_m(line_at(fleet, f['vehicle'], p[0]), p[1], p[2]) for p in here]
            just = len(offs) >= 2 and min(offs) > CORRIDOR_M - 1 and f['opened_ms'] - f['began_ms'] >= HOLD_S * 1000
            unjust += not just
            title = 'RTE-1 %s from %d s, %.0f s, worst %.0f m: %s' % (f['vehicle'], f['began_ms'] // 1000, (end - f['began_ms']) / 1000, max(offs, default=0),
                                                                     'truly off' if just else 'NOT off')
            print(title)
            around = [p for p in tracks[f['vehicle']] if f['began_ms'] - 600000 <= p[0] <= end + 600000]
            draw(os.path.join(pictures, 'finding-%02d.svg' % n), title, line_at(fleet, f['vehicle'], f['began_ms']), around, {p[0] for p in here})
        missed = quiet = 0
        for vehicle, points in tracks.items():
            for run, seconds, moved, worst in stretches(fleet, vehicle, points):
                told = any(f['vehicle'] == vehicle and f['began_ms'] <= run[-1][0] and (f['closed_ms'] or math.inf) >= run[0][0] for f in findings)
                due = seconds >= HOLD_S + 30 and moved >= 2 * TRAVEL_M
                missed += due and not told
                if not told:
                    title = '%s off by at most %.0f m for %.0f s, moved %.0f m: %s' % (vehicle, worst, seconds, moved, 'MISSED' if due else 'no finding due (60 s and 200 m)')
                    print(title)
                    around = [p for p in points if run[0][0] - 600000 <= p[0] <= run[-1][0] + 600000]
                    draw(os.path.join(pictures, 'quiet-%02d.svg' % quiet), title, line_at(fleet, vehicle, run[0][0]), around, {p[0] for p in run})
                    quiet += 1
        moved_fleet = json.loads(json.dumps(fleet))
        for r in moved_fleet['routes']:
            r['line'] = [[lon, lat + 200 / DEG_M] for lon, lat in r['line']]
            for s in r['stops']:
                s['lat'] += 200 / DEG_M
        _, control = day(place, 'control', moved_fleet, gtfs, avl)
        alarmed = {f['vehicle'] for f in control}
        print('vehicles=%d fixes_sent=%d fixes_stored=%d' % (len(tracks), sent, stored))
        print('rte1=%d truly_off=%d unjust=%d missed=%d stretches_without_finding=%d' % (len(findings), len(findings) - unjust, unjust, missed, quiet))
        print('control_rte1=%d control_vehicles=%d pictures=%s' % (len(control), len(alarmed), os.path.relpath(pictures, SOURCE)))
        finish(unjust == 0 and missed == 0 and stored == sent and alarmed == set(tracks))


if __name__ == '__main__':
    main()
