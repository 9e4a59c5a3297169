/*
 * graph.mjs - the streets a bus may use, as a graph.
 *
 * Two roads meet where OpenStreetMap gave them one node, that is where their coordinates are equal; crossings at different
 * levels share none. Only the largest strongly connected part is kept: from each of its streets each other one can be reached.
 */
import { toLonLat } from './tiles.mjs';
import { centreOf, oneway, speedKmh } from './themes.mjs';
import { nameEn } from './names.mjs';

const CLASSES = [
  'motorway', 'motorway_link', 'trunk', 'trunk_link', 'primary', 'primary_link', 'secondary', 'secondary_link', 'tertiary',
  'tertiary_link', 'unclassified', 'residential', 'living_street', 'service',
];
const EARTH_M = 6371008.8;

function metres(a, b) {
  const k = Math.PI / 180;
  const dx = (b[0] - a[0]) * k * Math.cos(((a[1] + b[1]) / 2) * k);
  return Math.hypot(dx, (b[1] - a[1]) * k) * EARTH_M;
}

function drivable(t) {
  if (!CLASSES.includes(t.highway) || t.area === 'yes') return false;
  if (t.highway === 'service' && /^(parking_aisle|driveway|emergency_access|drive-through)$/.test(t.service ?? '')) return false;
  return !/^(no|private)$/.test(t.motor_vehicle ?? t.vehicle ?? t.access ?? '');
}

/* Kosaraju on flat arrays, without recursion: component number of each node. */
function strongComponents(n, edges) {
  const list = (pick) => {
    const out = Array.from({ length: n }, () => []);
    for (const e of edges) pick(out, e);
    return out;
  };
  const fwd = list((o, e) => (o[e.from].push(e.to), e.oneway || o[e.to].push(e.from)));
  const rev = list((o, e) => (o[e.to].push(e.from), e.oneway || o[e.from].push(e.to)));
  const order = [];
  const seen = new Uint8Array(n);
  for (let s = 0; s < n; s++) {
    if (seen[s]) continue;
    const stack = [[s, 0]];
    seen[s] = 1;
    while (stack.length) {
      const top = stack.at(-1);
      if (top[1] < fwd[top[0]].length) {
        const next = fwd[top[0]][top[1]++];
        if (!seen[next]) (seen[next] = 1), stack.push([next, 0]);
      } else order.push(stack.pop()[0]);
    }
  }
  const comp = new Int32Array(n).fill(-1);
  let count = 0;
  for (const s of order.reverse()) {
    if (comp[s] >= 0) continue;
    const stack = [s];
    comp[s] = count;
    while (stack.length) for (const v of rev[stack.pop()]) if (comp[v] < 0) (comp[v] = count), stack.push(v);
    count++;
  }
  return comp;
}

/*
 * roadGraph - from the objects of readTiles().
 *   returns  {nodes: [lon, lat, ...], edges: [[from, to, class, oneway, maxspeed_kmh|0, name, [lon, lat, ...]], ...], classes, names,
 *             schools, bus_stops, length_km, kept}: class and name are indices, the inner points exclude both end nodes
 */
export function roadGraph(objects) {
  const roads = [];
  const uses = new Map();
  const key = (p) => `${p[0]},${p[1]}`;
  for (const o of objects) {
    if (o.type === 1 || !drivable(o.tags)) continue;
    const lines = o.type === 2 ? o.lines : o.polygons.flat().map((r) => (key(r[0]) === key(r.at(-1)) ? r : [...r, r[0]]));
    for (const line of lines) {
      const dir = oneway(o.tags);
      roads.push({ line: dir < 0 ? [...line].reverse() : line, oneway: Math.abs(dir), tags: o.tags });
      line.forEach((p, i) => uses.set(key(p), (uses.get(key(p)) ?? 0) + (i === 0 || i === line.length - 1 ? 2 : 1)));
    }
  }
  const names = [['', '']];
  const nameIndex = new Map([['', 0]]);
  const nodeIndex = new Map();
  const nodes = [];
  const node = (p) => {
    const k = key(p);
    if (!nodeIndex.has(k)) nodeIndex.set(k, nodes.push(toLonLat(p)) - 1);
    return nodeIndex.get(k);
  };
  const all = [];
  let totalM = 0;
  for (const { line, oneway: ow, tags } of roads) {
    const name = tags.name ?? '';
    if (!nameIndex.has(name)) nameIndex.set(name, names.push([name, nameEn(tags)]) - 1);
    let start = 0;
    for (let i = 1; i < line.length; i++) {
      if (i < line.length - 1 && uses.get(key(line[i])) < 2) continue;
      const geometry = line.slice(start, i + 1).map(toLonLat);
      let m = 0;
      for (let j = 1; j < geometry.length; j++) m += metres(geometry[j - 1], geometry[j]);
      if (m > 0)
        all.push({
          from: node(line[start]), to: node(line[i]), cls: CLASSES.indexOf(tags.highway), oneway: ow, kmh: speedKmh(tags) ?? 0,
          name: nameIndex.get(name), inner: geometry.slice(1, -1), m,
        });
      totalM += m;
      start = i;
    }
  }
  const comp = strongComponents(nodes.length, all);
  const weight = new Map();
  for (const e of all) if (comp[e.from] === comp[e.to]) weight.set(comp[e.from], (weight.get(comp[e.from]) ?? 0) + e.m);
  const best = [...weight].sort((a, b) => b[1] - a[1])[0]?.[0];
  const edges = all.filter((e) => comp[e.from] === best && comp[e.to] === best);
  const renum = new Map();
  const flat = [];
  const renumber = (i) => {
    if (!renum.has(i)) {
      renum.set(i, renum.size);
      flat.push(nodes[i][0], nodes[i][1]);
    }
    return renum.get(i);
  };
  const rows = edges.map((e) => [renumber(e.from), renumber(e.to), e.cls, e.oneway, e.kmh, e.name, e.inner.flat()]);
  const length = edges.reduce((a, e) => a + e.m, 0);
  const schools = objects
    .filter((o) => o.tags.amenity === 'school')
    .map((o) => ({ lonlat: centreOf(o), name: o.tags.name ?? '', name_en: nameEn(o.tags) ?? '' }));
  const busStops = objects.filter((o) => o.tags.highway === 'bus_stop').map((o) => centreOf(o));
  return {
    nodes: flat, edges: rows, classes: CLASSES, names, schools, bus_stops: busStops, length_km: Math.round(length / 100) / 10,
    kept: length / totalM,
  };
}
