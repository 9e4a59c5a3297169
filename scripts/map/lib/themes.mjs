/*
 * themes.mjs - what of OpenStreetMap our base map shows, sorted into layers.
 *
 * A layer may be fed by several files of different first zoom, so that a county-wide view holds main roads only.
 * themes[file] = {layer, minzoom, features}; maxzoom is 14 for all (the screen over-zooms).
 */
import { toLonLat } from './tiles.mjs';
import { nameEn } from './names.mjs';

const ROAD_ZOOM = {
  motorway: 8, trunk: 8, primary: 8, motorway_link: 11, trunk_link: 11, primary_link: 11, secondary: 10, secondary_link: 12,
  tertiary: 11, tertiary_link: 12, residential: 12, unclassified: 12, living_street: 13, service: 14, pedestrian: 14,
  footway: 14, track: 13, construction: 14,
};
const GREEN_LANDUSE = new Set(['grass', 'village_green', 'forest', 'orchard', 'allotments', 'cemetery', 'recreation_ground', 'meadow']);
const GREEN_NATURAL = new Set(['wood', 'scrub', 'grassland', 'wetland', 'heath']);
const GREEN_LEISURE = new Set(['park', 'garden', 'pitch', 'golf_course', 'common', 'nature_reserve']);
const LANDUSE = new Set(['industrial', 'commercial', 'retail', 'residential', 'construction', 'brownfield', 'landfill', 'garages', 'military', 'railway', 'farmland']);
const POI_AMENITY = new Set([
  'school', 'kindergarten', 'college', 'university', 'hospital', 'clinic', 'police', 'fire_station', 'townhall', 'fuel', 'library', 'theatre',
]);

const clean = (o) => Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined && v !== ''));

export function speedKmh(tags) {
  const m = /^(\d{1,3})$/.exec(tags.maxspeed ?? '');
  return m && Number(m[1]) > 0 ? Number(m[1]) : undefined;
}

export function oneway(tags) {
  if (tags.oneway === 'yes' || tags.oneway === '1' || tags.junction === 'roundabout') return 1;
  if (tags.oneway === '-1') return -1;
  return 0;
}

const lonLatRing = (ring) => {
  const r = ring.map(toLonLat);
  if (r[0][0] !== r.at(-1)[0] || r[0][1] !== r.at(-1)[1]) r.push(r[0]);
  return r;
};

function geometryOf(o) {
  if (o.type === 1) return { type: 'Point', coordinates: toLonLat(o.points[0]) };
  if (o.type === 2) return { type: 'MultiLineString', coordinates: o.lines.map((l) => l.map(toLonLat)) };
  return { type: 'MultiPolygon', coordinates: o.polygons.map((p) => p.map(lonLatRing)) };
}

/* Where to put the symbol of an area: the mean of its outer ring, good enough for a building. */
export function centreOf(o) {
  if (o.type === 1) return toLonLat(o.points[0]);
  const pts = o.type === 2 ? o.lines.flat() : o.polygons.flatMap((p) => p[0]);
  const sum = pts.reduce((a, p) => [a[0] + p[0], a[1] + p[1]], [0, 0]);
  return toLonLat([sum[0] / pts.length, sum[1] / pts.length]);
}

export function sortIntoThemes(objects) {
  const themes = {};
  const put = (layer, minzoom, geometry, properties) => {
    const file = `${layer}_z${minzoom}`;
    (themes[file] ??= { layer, minzoom, features: [] }).features.push({ type: 'Feature', properties: clean(properties), geometry });
  };
  for (const o of objects) {
    const t = o.tags;
    const named = { name: t.name, name_en: nameEn(t) };
    if (o.type !== 1 && t.highway in ROAD_ZOOM && t.area !== 'yes') {
      const lines = o.type === 2 ? geometryOf(o) : { type: 'MultiLineString', coordinates: o.polygons.flat().map(lonLatRing) };
      put('roads', ROAD_ZOOM[t.highway], lines, { class: t.highway, ...named, ref: t.ref, oneway: oneway(t), maxspeed: speedKmh(t) });
    }
    if (o.type === 2) {
      if (t.railway === 'rail' || t.railway === 'tram') put('rail', t.service ? 13 : 10, geometryOf(o), { class: t.railway });
      if (/^(river|stream|canal|ditch|drain)$/.test(t.waterway ?? ''))
        put('waterway', t.waterway === 'river' || t.waterway === 'canal' ? 8 : 13, geometryOf(o), { class: t.waterway, ...named });
    }
    if (o.type === 3) {
      if (t.building && t.building !== 'no') put('buildings', 14, geometryOf(o), { levels: Number(t['building:levels']) || undefined });
      else if (t.natural === 'water' || t.waterway === 'riverbank' || t.landuse === 'reservoir') put('water', 8, geometryOf(o), named);
      else if (GREEN_LANDUSE.has(t.landuse) || GREEN_NATURAL.has(t.natural) || GREEN_LEISURE.has(t.leisure))
        put('green', t.leisure === 'park' || t.landuse === 'forest' ? 9 : 12, geometryOf(o), { kind: t.leisure ?? t.landuse ?? t.natural, ...named });
      else if (LANDUSE.has(t.landuse)) put('landuse', 10, geometryOf(o), { kind: t.landuse });
    }
    const point = () => ({ type: 'Point', coordinates: centreOf(o) });
    if (POI_AMENITY.has(t.amenity)) put('poi', t.amenity === 'school' ? 12 : 13, point(), { kind: t.amenity, ...named });
    else if (t.railway === 'station') put('poi', 12, point(), { kind: 'station', ...named });
    if (o.type === 1 && t.place && t.name) put('places', /^(city|town)$/.test(t.place) ? 8 : 11, point(), { kind: t.place, ...named });
    if (t.highway === 'bus_stop') put('busstops', 14, point(), named);
  }
  return themes;
}
