/*
 * tiles.mjs - OpenStreetMap QA tiles put together again.
 *
 * A QA tile holds every OpenStreetMap object of its square with all its tags; an object that crosses the border is cut
 * exactly on it and the pieces lie in both tiles. The tile grid is 2^12 tiles of 2^20 units, so tile * 2^20 + unit is one
 * integer plane of 2^32 units (about 1 cm), on which the two ends of a cut and the shared nodes of two roads are equal numbers.
 */
import fs from 'node:fs';
import path from 'node:path';
import { PbfReader } from 'pbf';
import { VectorTile } from '@mapbox/vector-tile';
import polygonClipping from 'polygon-clipping';

const EXTENT = 2 ** 20;
const WORLD = 2 ** 32;

export function toLonLat([x, y]) {
  const lon = (x / WORLD) * 360 - 180;
  const lat = (Math.atan(Math.sinh(Math.PI * (1 - (2 * y) / WORLD))) * 180) / Math.PI;
  return [Math.round(lon * 1e7) / 1e7, Math.round(lat * 1e7) / 1e7];
}

const key = (p) => `${p[0]},${p[1]}`;

/* Lines cut at borders joined end to start; the direction of each piece is kept, because it is that of a one-way street. */
export function joinLines(lines) {
  const todo = lines.filter((l) => l.length > 1);
  const byStart = new Map();
  for (const l of todo) (byStart.get(key(l[0])) ?? byStart.set(key(l[0]), []).get(key(l[0]))).push(l);
  const ends = new Set(todo.map((l) => key(l.at(-1))));
  const used = new Set();
  const out = [];
  const follow = (first) => {
    const line = [...first];
    used.add(first);
    for (;;) {
      const next = (byStart.get(key(line.at(-1))) ?? []).find((l) => !used.has(l));
      if (!next) break;
      used.add(next);
      line.push(...next.slice(1));
    }
    out.push(line);
  };
  for (const l of todo) if (!used.has(l) && !ends.has(key(l[0]))) follow(l);
  for (const l of todo) if (!used.has(l)) follow(l); /* closed loops have no end to begin at */
  return out;
}

function ringArea2(r) {
  let a = 0;
  for (let i = 0, j = r.length - 1; i < r.length; j = i++) a += (r[j][0] - r[i][0]) * (r[j][1] + r[i][1]);
  return a;
}

/* Vector tiles give one list of rings: a ring with the winding of the first one begins a new polygon, the others are its holes. */
function polygonsOf(rings) {
  const out = [];
  let outer = 0;
  for (const r of rings) {
    const a = ringArea2(r);
    if (r.length < 4 || a === 0) continue;
    if (!outer) outer = Math.sign(a);
    if (Math.sign(a) === outer || !out.length) out.push([r]);
    else out.at(-1).push(r);
  }
  return out;
}

/*
 * readTiles - the objects of a folder of QA tiles, each once.
 *   returns  {objects: [{type: 1 point|2 line|3 area, tags, points|lines|polygons}], bounds: [w, s, e, n], pieces, joined}
 *            coordinates on the integer plane above
 */
export function readTiles(dir) {
  const byId = new Map();
  const tiles = { x0: Infinity, y0: Infinity, x1: -Infinity, y1: -Infinity };
  let pieces = 0;
  for (const file of fs.readdirSync(dir).sort()) {
    const m = /^12-(\d+)-(\d+)\.mvt$/.exec(file);
    if (!m) continue;
    const [tx, ty] = [Number(m[1]), Number(m[2])];
    tiles.x0 = Math.min(tiles.x0, tx);
    tiles.y0 = Math.min(tiles.y0, ty);
    tiles.x1 = Math.max(tiles.x1, tx + 1);
    tiles.y1 = Math.max(tiles.y1, ty + 1);
    const layer = new VectorTile(new PbfReader(fs.readFileSync(path.join(dir, file)))).layers.osm;
    if (!layer) continue;
    if (layer.extent !== EXTENT) throw new Error(`${file}: extent ${layer.extent}, expected ${EXTENT}`);
    for (let i = 0; i < layer.length; i++) {
      const f = layer.feature(i);
      const rings = f.loadGeometry().map((r) => r.map((p) => [tx * EXTENT + p.x, ty * EXTENT + p.y]));
      const tags = {};
      for (const [k, v] of Object.entries(f.properties)) if (!k.startsWith('@')) tags[k] = String(v);
      const id = `${f.properties['@type']}${f.properties['@id']}/${f.type}`;
      const old = byId.get(id);
      pieces++;
      if (old) old.parts.push(rings);
      else byId.set(id, { type: f.type, tags, parts: [rings] });
    }
  }
  if (!pieces) throw new Error(`no tiles named 12-X-Y.mvt in ${dir}`);
  let joined = 0;
  const objects = [];
  for (const { type, tags, parts } of byId.values()) {
    if (parts.length > 1) joined++;
    if (type === 1) objects.push({ type, tags, points: parts[0].flat() });
    else if (type === 2) objects.push({ type, tags, lines: joinLines(parts.flat()) });
    else {
      const pieces_ = parts.map(polygonsOf).filter((p) => p.length);
      if (!pieces_.length) continue;
      const polygons = pieces_.length > 1 ? polygonClipping.union(...pieces_) : pieces_[0];
      objects.push({ type, tags, polygons });
    }
  }
  const [w, n] = toLonLat([tiles.x0 * EXTENT, tiles.y0 * EXTENT]);
  const [e, s] = toLonLat([tiles.x1 * EXTENT, tiles.y1 * EXTENT]);
  return { objects, bounds: [w, s, e, n], pieces, joined };
}
