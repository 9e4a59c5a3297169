/*
 * The offline base map: vector tiles of the server in a calm style that leaves colour to the buses. Labels are drawn with
 * the fonts of the computer, so no glyph files are needed.
 */
import MVT from 'ol/format/MVT'
import type { FeatureLike } from 'ol/Feature'
import VectorTileLayer from 'ol/layer/VectorTile'
import VectorTileSource from 'ol/source/VectorTile'
import { createXYZ } from 'ol/tilegrid'
import { transformExtent } from 'ol/proj'
import { Fill, Stroke, Style, Text } from 'ol/style'
import type { MapSet } from '../api'

export interface Scheme {
  land: string; landuse: string; green: string; water: string; building: string; rail: string
  casing: string; minor: string; major: string; motorway: string; path: string
  label: string; label_halo: string; place: string; water_label: string
}
export const LIGHT: Scheme = {
  land: '#f3f4f1', landuse: '#eceee9', green: '#dfead8', water: '#bcd9ea', building: '#e3e3de', rail: '#c3c7cb',
  casing: '#d3d6d3', minor: '#ffffff', major: '#ffffff', motorway: '#fdf3da', path: '#dcdfda',
  label: '#5b646d', label_halo: '#f7f8f5', place: '#39424b', water_label: '#3f7596'
}
export const DARK: Scheme = {
  land: '#151a20', landuse: '#181e24', green: '#17231d', water: '#12283a', building: '#1d242c', rail: '#38424c',
  casing: '#10151a', minor: '#2a333c', major: '#36414c', motorway: '#4a4a3c', path: '#222a32',
  label: '#98a4af', label_halo: '#10151a', place: '#c5ced6', water_label: '#6d9cba'
}

/* Width in pixels at zoom 14, and the zoom from which a road is drawn and named. */
const ROADS: Record<string, { width: number; from: number; name: number; rank: number }> = {
  motorway: { width: 6, from: 8, name: 12, rank: 9 }, trunk: { width: 5.5, from: 8, name: 12, rank: 8 },
  primary: { width: 5, from: 9, name: 13, rank: 7 }, secondary: { width: 4, from: 10, name: 13.5, rank: 6 },
  tertiary: { width: 3.2, from: 11, name: 14, rank: 5 }, residential: { width: 2.2, from: 12.5, name: 15, rank: 4 },
  unclassified: { width: 2.2, from: 12.5, name: 15, rank: 4 }, living_street: { width: 1.8, from: 13, name: 15.5, rank: 3 },
  service: { width: 1.2, from: 14, name: 17, rank: 2 }, pedestrian: { width: 1.2, from: 14, name: 17, rank: 1 },
  footway: { width: 0.8, from: 15, name: 18, rank: 0 }, path: { width: 0.8, from: 15, name: 18, rank: 0 }, track: { width: 0.8, from: 15, name: 18, rank: 0 }
}

const FONT = 'system-ui, "Noto Sans CJK SC", "Microsoft YaHei", sans-serif'

export function baseLayer(set: MapSet, look: { scheme: Scheme; lang: 'zh' | 'en' }): VectorTileLayer {
  const layer = new VectorTileLayer({
    renderMode: 'hybrid',
    declutter: true,
    className: 'base',
    updateWhileAnimating: false,
    source: new VectorTileSource({
      format: new MVT({ layers: ['landuse', 'green', 'water', 'waterway', 'buildings', 'rail', 'roads', 'poi', 'places'] }),
      url: `/tiles/${encodeURIComponent(set.set)}/{z}/{x}/{y}`,
      tileGrid: createXYZ({ minZoom: set.min_zoom, maxZoom: set.max_zoom, tileSize: 512, extent: undefined }),
      attributions: set.attribution
    }),
    extent: transformExtent(set.bounds, 'EPSG:4326', 'EPSG:3857')
  })
  layer.setStyle(baseStyle(look))
  return layer
}

/* Styles are made once per appearance, not per feature. */
export function baseStyle(look: { scheme: Scheme; lang: 'zh' | 'en' }): (f: FeatureLike, resolution: number) => Style[] | undefined {
  const s = look.scheme
  const area = (colour: string, z: number) => [new Style({ fill: new Fill({ color: colour }), zIndex: z })]
  const landuse = area(s.landuse, 0), green = area(s.green, 1), water = area(s.water, 2), building = area(s.building, 4)
  const river = [new Style({ stroke: new Stroke({ color: s.water, width: 2.5, lineCap: 'round' }), zIndex: 3 })]
  const rail = [new Style({ stroke: new Stroke({ color: s.rail, width: 1.4, lineDash: [6, 4] }), zIndex: 5 })]
  const roads = new Map<string, Style[]>()
  const nameOf = (f: FeatureLike): string | undefined => {
    const local = f.get('name') as string | undefined, latin = f.get('name_en') as string | undefined
    if (look.lang === 'en') return latin || local
    /* Chinese readers read Chinese, then Latin letters, before any other script. */
    const zh = (f.get('name_zh') as string | undefined) || (local && /[\u3400-\u9fff]/.test(local) ? local : undefined)
    return zh || latin || local
  }
  const label = (size: number, colour: string, weight = 400) =>
    new Text({
      font: `${weight} ${size}px ${FONT}`, fill: new Fill({ color: colour }),
      stroke: new Stroke({ color: s.label_halo, width: 3 }), overflow: false
    })
  const placeText = label(14, s.place, 600), townText = label(12.5, s.label, 600), waterText = label(12, s.water_label)
  const poiText = label(11, s.label)
  poiText.setOffsetY(11)
  const placeStyle = [new Style({ text: placeText, zIndex: 30 })], townStyle = [new Style({ text: townText, zIndex: 29 })]
  const waterStyle = [new Style({ fill: new Fill({ color: s.water }), text: waterText, zIndex: 2 })]
  const poiStyle = [new Style({ text: poiText, zIndex: 20 })]

  function roadStyles(kind: string, zoom: number): Style[] | undefined {
    const road = ROADS[kind] ?? ROADS.service!
    if (zoom < road.from) return undefined
    const step = Math.round(zoom * 2) / 2
    const key = `${kind} ${step}`
    let made = roads.get(key)
    if (!made) {
      const width = Math.max(0.6, road.width * 1.45 ** (step - 14))
      const fill = road.rank >= 8 ? s.motorway : road.rank >= 5 ? s.major : road.rank === 0 ? s.path : s.minor
      made = [new Style({ stroke: new Stroke({ color: fill, width, lineCap: 'round', lineJoin: 'round' }), zIndex: 10 + road.rank })]
      if (width > 1.8) made.push(new Style({ stroke: new Stroke({ color: s.casing, width: width + 1.6, lineCap: 'round', lineJoin: 'round' }), zIndex: 6 }))
      const text = label(11.5, s.label)
      text.setPlacement('line')
      text.setRepeat(420)
      made.push(new Style({ text, zIndex: 19 + road.rank / 10 }))
      roads.set(key, made)
    }
    const text = made[made.length - 1]!
    text.getText()!.setText(zoom >= road.name ? (nameOf(f0!) ?? '') : '')
    return made
  }
  let f0: FeatureLike | undefined

  return (f, resolution) => {
    const zoom = Math.log2(156543.03392804097 / resolution)
    f0 = f
    switch (f.get('layer') as string) {
      case 'roads': return roadStyles(String(f.get('class') ?? '').replace(/_link$/, ''), zoom)
      case 'buildings': return zoom >= 13.5 ? building : undefined
      case 'water': {
        const name = zoom >= 12.5 ? nameOf(f) : undefined
        if (!name) return water
        waterText.setText(name)
        return waterStyle
      }
      case 'waterway': return river
      case 'green': return green
      case 'landuse': return landuse
      case 'rail': return zoom >= 11 ? rail : undefined
      case 'places': {
        const kind = String(f.get('kind') ?? f.get('class') ?? '')
        const big = kind === 'city' || kind === 'town'
        if (big ? zoom > 15 : zoom < 11.5) return undefined
        ;(big ? placeText : townText).setText(nameOf(f) ?? '')
        return big ? placeStyle : townStyle
      }
      case 'poi': {
        if (zoom < 15 || !['school', 'kindergarten', 'hospital', 'police'].includes(String(f.get('kind')))) return undefined
        poiText.setText(nameOf(f) ?? '')
        return poiStyle
      }
      default: return undefined
    }
  }
}
