/*
 * make.mjs TILES OUT - tiles of one city -> OUT/*.geojson, OUT/layers.vrt, OUT/mvt.json (for ogr2ogr) and OUT/roads.json.
 * `build` beside this file calls it; see there.
 */
import fs from 'node:fs';
import path from 'node:path';
import { readTiles } from './lib/tiles.mjs';
import { sortIntoThemes } from './lib/themes.mjs';
import { roadGraph } from './lib/graph.mjs';

const [tiles, out] = process.argv.slice(2);
if (!tiles || !out) {
  console.error('usage: make.mjs TILES OUT');
  process.exit(64);
}
const { objects, bounds, pieces, joined } = readTiles(tiles);
console.log(`  ${objects.length} objects from ${pieces} pieces, ${joined} of them were cut at tile borders`);

const themes = sortIntoThemes(objects);
const conf = {};
const vrt = ['<OGRVRTDataSource>'];
const perLayer = {};
for (const [file, { layer, minzoom, features }] of Object.entries(themes)) {
  fs.writeFileSync(path.join(out, `${file}.geojson`), JSON.stringify({ type: 'FeatureCollection', features }));
  conf[file] = { target_name: layer, minzoom, maxzoom: 14 };
  vrt.push(`<OGRVRTLayer name="${file}"><SrcDataSource relativeToVRT="1">${file}.geojson</SrcDataSource><SrcLayer>${file}</SrcLayer></OGRVRTLayer>`);
  perLayer[layer] = (perLayer[layer] ?? 0) + features.length;
}
vrt.push('</OGRVRTDataSource>');
fs.writeFileSync(path.join(out, 'layers.vrt'), vrt.join('\n'));
fs.writeFileSync(path.join(out, 'mvt.json'), JSON.stringify(conf));
fs.writeFileSync(path.join(out, 'bounds'), bounds.map((x) => x.toFixed(6)).join(','));
console.log('  ' + Object.entries(perLayer).map(([k, v]) => `${k} ${v}`).join(', '));

const { kept, ...graph } = roadGraph(objects);
const doc = {
  format: 'schoolward-roads-1', city: 'astana', attribution: '© OpenStreetMap contributors', licence: 'ODbL-1.0', bounds,
  edge_fields: ['from', 'to', 'class', 'oneway', 'maxspeed_kmh', 'name', 'inner_lonlat'], ...graph,
};
fs.writeFileSync(path.join(out, 'roads.json'), JSON.stringify(doc));
console.log(`  road graph: ${graph.nodes.length / 2} nodes, ${graph.edges.length} edges, ${graph.length_km} km (${(100 * kept).toFixed(1)} % of the streets are one connected whole)`);
