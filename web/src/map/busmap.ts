/*
 * The map of all three pages: base map, the approved route with its stops, the driven line, the buses, one marked place.
 * A plain class, so that a thousand buses per second never pass through Vue.
 */
import OlMap from 'ol/Map'
import View from 'ol/View'
import Feature from 'ol/Feature'
import type { Coordinate } from 'ol/coordinate'
import { Attribution, ScaleLine } from 'ol/control'
import { createEmpty, extend, getCenter, isEmpty } from 'ol/extent'
import { defaults as interactions } from 'ol/interaction/defaults'
import { LineString, MultiLineString, Point } from 'ol/geom'
import VectorLayer from 'ol/layer/Vector'
import { fromLonLat, toLonLat, transformExtent } from 'ol/proj'
import VectorSource from 'ol/source/Vector'
import { Circle, Fill, Icon, Stroke, Style, Text } from 'ol/style'
import 'ol/ol.css'
import { TRACK_LATE, type MapSet, type Route, type Severity, type Track } from '../api'
import type { Family } from '../findings'
import { severityRank, type Row } from '../fleet'
import { baseLayer, baseStyle, DARK, LIGHT } from './basemap'
import { drawBus, headingStep, lookKey, MARK_PX, type Look } from './marks'

/* Below this zoom, buses nearer than CLUSTER_PX to each other become one circle with a number. */
const CLUSTER_BELOW = 11.5
const CLUSTER_PX = 44
/* With very many buses they are grouped until much nearer. */
const MANY = 500
const CLUSTER_MANY_BELOW = 14
/* From this zoom every bus carries its plate. */
const PLATES_FROM = 13.5

export interface BusMapOptions {
  target: HTMLElement
  dark: boolean
  lang: 'zh' | 'en'
  /* Where to look before anything is known. */
  onPick?: (id: string | null) => void
  onMoved?: () => void
}

interface Shown { id: string; row: Row; xy: Coordinate; family: Family | null }

export class BusMap {
  private readonly map: OlMap
  private readonly buses = new VectorSource<Feature<Point>>()
  private readonly line = new VectorSource()
  private readonly driven = new VectorSource()
  private readonly mark = new VectorSource()
  private readonly layers: VectorLayer[]
  private base: ReturnType<typeof baseLayer>[] = []
  private readonly looks = new Map<string, Style[]>()
  private readonly plates = new Map<string, Style[]>()
  private shown: Shown[] = []
  private selected: string | null = null
  private zoomKey = ''
  private dark: boolean
  private lang: 'zh' | 'en'
  private fitted = false
  private dead = false
  private bounds: MapSet['bounds'] | null = null
  private readonly resize: ResizeObserver

  constructor(private readonly options: BusMapOptions) {
    this.dark = options.dark
    this.lang = options.lang
    const layer = (source: VectorSource, zIndex: number) =>
      new VectorLayer({ source, zIndex, declutter: 'labels', updateWhileAnimating: true, updateWhileInteracting: true })
    this.layers = [layer(this.line, 10), layer(this.driven, 11), layer(this.mark, 12), layer(this.buses as VectorSource, 20)]
    this.map = new OlMap({
      target: options.target,
      layers: this.layers,
      controls: [new Attribution({ collapsible: false }), new ScaleLine({ minWidth: 70 })],
      interactions: interactions({ altShiftDragRotate: false, pinchRotate: false }),
      view: new View({ center: fromLonLat([109.41, 24.33]), zoom: 12, minZoom: 7, maxZoom: 18, enableRotation: false })
    })
    this.map.on('singleclick', (event) => this.pick(event.pixel))
    this.map.on('pointermove', (event) => {
      if (event.dragging || !options.onPick) return
      options.target.style.cursor = this.map.hasFeatureAtPixel(event.pixel, this.hit) ? 'pointer' : ''
    })
    this.map.on('moveend', () => {
      this.restyle()
      options.onMoved?.()
    })
    this.resize = new ResizeObserver(() => this.map.updateSize())
    this.resize.observe(options.target)
  }

  destroy(): void {
    this.dead = true
    this.resize.disconnect()
    this.map.setTarget(undefined)
    this.map.dispose()
  }

  setBase(sets: MapSet[]): void {
    for (const old of this.base) this.map.removeLayer(old)
    this.base = sets.filter((s) => s.crs === 'wgs84').map((s) => baseLayer(s, { scheme: this.dark ? DARK : LIGHT, lang: this.lang }))
    for (const layer of this.base) this.map.addLayer(layer)
    this.bounds = sets[0]?.bounds ?? null
    if (this.bounds && !this.fitted) this.map.getView().fit(transformExtent(this.bounds, 'EPSG:4326', 'EPSG:3857'), { maxZoom: 13 })
  }

  setLook(dark: boolean, lang: 'zh' | 'en'): void {
    if (dark === this.dark && lang === this.lang) return
    this.dark = dark
    this.lang = lang
    this.looks.clear()
    this.plates.clear()
    for (const layer of this.base) layer.setStyle(baseStyle({ scheme: dark ? DARK : LIGHT, lang }))
    this.zoomKey = ''
    this.restyle()
    if (this.route !== null) this.setRoute(this.route)
    if (this.track !== null) this.setTrack(this.track)
    if (this.markAt) this.setMark(...this.markAt)
  }

  get background(): string { return (this.dark ? DARK : LIGHT).land }

  /* All buses as they are now. `families` names the worst open finding of a bus. */
  setRows(rows: Row[], families: Map<string, Family>, selected: string | null): void {
    if (this.dead) return
    this.selected = selected
    this.shown = []
    for (const row of rows) {
      const p = row.vehicle.position
      if (p === null) continue
      this.shown.push({ id: row.vehicle.id, row, xy: fromLonLat([p.lon, p.lat]), family: row.vehicle.sos ? 'sos' : families.get(row.vehicle.id) ?? null })
    }
    this.zoomKey = ''
    this.restyle()
    if (!this.fitted && this.shown.length > 0) {
      this.fitted = true
      this.fitAll(false)
    }
  }

  /* The part of the map that a panel covers: what is centred is centred in the rest. */
  setPadding(right: number, bottom: number): void {
    this.map.getView().padding = [0, right, bottom, 0]
  }

  setCutOff(cut: boolean): void {
    this.layers[3]!.setOpacity(cut ? 0.45 : 1)
  }

  private route: Route | null = null
  setRoute(route: Route | null, mineOnly = false): void {
    this.route = route
    this.line.clear()
    if (route === null) return
    const xy = route.line.map((p) => fromLonLat(p))
    const road = new Feature(new LineString(xy))
    const colour = this.dark ? '#7fb6ee' : '#0b5cad'
    road.setStyle([
      new Style({ stroke: new Stroke({ color: this.dark ? '#0d1116' : '#ffffff', width: 8, lineCap: 'round' }) }),
      new Style({ stroke: new Stroke({ color: colour + '99', width: 4.5, lineCap: 'round' }) })
    ])
    this.line.addFeature(road)
    if (mineOnly) return
    route.stops.forEach((stop, i) => {
      const f = new Feature(new Point(fromLonLat([stop.lon, stop.lat])))
      f.setStyle(new Style({
        image: new Circle({ radius: 6, fill: new Fill({ color: this.dark ? '#1a2027' : '#ffffff' }), stroke: new Stroke({ color: colour, width: 2.5 }), declutterMode: 'none' }),
        text: this.text(`${i + 1} ${this.lang === 'zh' ? stop.name_zh || stop.name_en : stop.name_en || stop.name_zh}`, 12, 0, -15)
      }))
      this.line.addFeature(f)
    })
  }

  private track: Track | null = null
  setTrack(track: Track | null): void {
    this.track = track
    this.driven.clear()
    if (track === null || track.points.length < 2) return
    /* A gap of more than half a minute is not bridged by a line nobody drove. */
    const live: Coordinate[][] = [], late: Coordinate[][] = []
    let last: { t: number; late: boolean; xy: Coordinate } | null = null
    for (const point of track.points) {
      const isLate = (point[6] & TRACK_LATE) !== 0
      const xy = fromLonLat([point[2], point[1]])
      const into = isLate ? late : live
      if (last === null || point[0] - last.t > 30_000) into.push([xy])
      else if (last.late !== isLate) into.push([last.xy, xy])
      else into[into.length - 1]!.push(xy)
      last = { t: point[0], late: isLate, xy }
    }
    const colour = this.dark ? '#f0f4f8' : '#14181c'
    const draw = (lines: Coordinate[][], dash?: number[]) => {
      const f = new Feature(new MultiLineString(lines.filter((l) => l.length > 1)))
      f.setStyle(new Style({ stroke: new Stroke({ color: colour, width: 2.5, lineDash: dash, lineCap: 'butt' }) }))
      this.driven.addFeature(f)
    }
    draw(live)
    draw(late, [3, 5])
  }

  private markAt: [number, number, Severity] | null = null
  setMark(lat: number, lon: number, severity: Severity): void {
    this.markAt = [lat, lon, severity]
    this.mark.clear()
    const f = new Feature(new Point(fromLonLat([lon, lat])))
    const colour = this.colour(severity)
    const cross = (r: number, w: number, stroke: string) =>
      new Style({ image: new Circle({ radius: r, stroke: new Stroke({ color: stroke, width: w }), declutterMode: 'none' }) })
    f.setStyle([cross(24, 5, this.dark ? '#0d1116' : '#ffffff'), cross(24, 2.5, colour), cross(4, 6, colour)])
    this.mark.addFeature(f)
  }
  clearMark(): void {
    this.markAt = null
    this.mark.clear()
  }

  centre(lat: number, lon: number, zoom?: number): void {
    this.fitted = true
    const view = this.map.getView()
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches
    view.animate({ center: fromLonLat([lon, lat]), zoom: zoom ?? Math.max(view.getZoom() ?? 14, 14), duration: calm ? 0 : 350 })
  }

  fitAll(animate = true): void {
    const extent = createEmpty()
    for (const s of this.shown) extend(extent, [...s.xy, ...s.xy])
    if (isEmpty(extent) && this.shown.length === 0) {
      if (this.bounds) this.map.getView().fit(transformExtent(this.bounds, 'EPSG:4326', 'EPSG:3857'), { maxZoom: 13 })
      return
    }
    this.fit(extent, animate)
  }
  fitTrack(): void {
    const extent = createEmpty()
    for (const f of [...this.driven.getFeatures(), ...this.mark.getFeatures()]) {
      const g = f.getGeometry()
      if (g && !isEmpty(g.getExtent())) extend(extent, g.getExtent())
    }
    if (!isEmpty(extent)) this.fit(extent, false)
  }
  private fit(extent: number[], animate: boolean): void {
    this.fitted = true
    const calm = !animate || matchMedia('(prefers-reduced-motion: reduce)').matches
    this.map.getView().fit(extent, { padding: [60, 60, 60, 60], maxZoom: 15.5, duration: calm ? 0 : 350 })
  }
  zoomBy(step: number): void {
    const view = this.map.getView()
    view.animate({ zoom: (view.getZoom() ?? 12) + step, duration: 150 })
  }
  panBy(dx: number, dy: number): void {
    const view = this.map.getView()
    const c = view.getCenter(), r = view.getResolution()
    if (c && r) view.setCenter([c[0]! + dx * r, c[1]! - dy * r])
  }
  centreLonLat(): [number, number] { return toLonLat(this.map.getView().getCenter() ?? [0, 0]) as [number, number] }
  /* Pixel of a bus on the screen: for tests and for tooltips. */
  pixelOf(id: string): number[] | null {
    const s = this.shown.find((x) => x.id === id)
    return s ? this.map.getPixelFromCoordinate(s.xy) : null
  }

  private readonly hit = { layerFilter: (l: unknown) => l === this.layers[3], hitTolerance: 6 }

  private pick(pixel: number[]): void {
    const f = this.map.forEachFeatureAtPixel(pixel, (x) => x as Feature<Point>, this.hit)
    const members = f?.get('members') as Shown[] | undefined
    if (members && members.length > 1) {
      const extent = createEmpty()
      for (const s of members) extend(extent, [...s.xy, ...s.xy])
      const view = this.map.getView()
      if (isEmpty(extent)) view.animate({ center: getCenter(extent), zoom: (view.getZoom() ?? CLUSTER_BELOW) + 2, duration: 250 })
      else this.fit(extent, true)
      return
    }
    this.options.onPick?.((f?.get('bus') as string | undefined) ?? null)
  }

  /* Rebuild the bus features: grouped when far out, one by one when near; the selected bus is never grouped. */
  private restyle(): void {
    const view = this.map.getView()
    const zoom = view.getZoom() ?? 12
    const resolution = view.getResolution() ?? 1
    const grouped = zoom < (this.shown.length > MANY ? CLUSTER_MANY_BELOW : CLUSTER_BELOW)
    const key = `${grouped ? resolution.toFixed(3) : 'single'} ${zoom >= PLATES_FROM}`
    if (key === this.zoomKey) return
    this.zoomKey = key
    const wanted = new Map<string, { xy: Coordinate; style: Style[]; members: Shown[] }>()
    const cells = new Map<string, Shown[]>()
    for (const s of this.shown) {
      if (!grouped || s.id === this.selected) wanted.set(s.id, { xy: s.xy, style: this.single(s, zoom), members: [s] })
      else {
        const size = CLUSTER_PX * resolution
        const cell = `${Math.floor(s.xy[0]! / size)} ${Math.floor(s.xy[1]! / size)}`
        const list = cells.get(cell)
        if (list) list.push(s)
        else cells.set(cell, [s])
      }
    }
    for (const [cell, list] of cells) {
      if (list.length === 1) wanted.set(list[0]!.id, { xy: list[0]!.xy, style: this.single(list[0]!, zoom), members: list })
      else wanted.set(`cell ${cell}`, { xy: mean(list), style: this.group(list), members: list })
    }
    const stay = new Map<string, Feature<Point>>()
    for (const f of this.buses.getFeatures()) {
      const id = String(f.getId())
      if (wanted.has(id)) stay.set(id, f)
      else this.buses.removeFeature(f)
    }
    const fresh: Feature<Point>[] = []
    for (const [id, w] of wanted) {
      let f = stay.get(id)
      if (f) {
        const at = f.getGeometry()!.getFlatCoordinates()
        if (at[0] !== w.xy[0] || at[1] !== w.xy[1]) f.getGeometry()!.setCoordinates(w.xy)
      }
      else {
        f = new Feature(new Point(w.xy))
        f.setId(id)
        fresh.push(f)
      }
      f.set('bus', w.members.length === 1 ? w.members[0]!.id : null, true)
      f.set('members', w.members, true)
      if (f.getStyle() !== w.style) f.setStyle(w.style)
    }
    this.buses.addFeatures(fresh)
  }

  private single(s: Shown, zoom: number): Style[] {
    const v = s.row.vehicle
    const selected = s.id === this.selected
    const look: Look = {
      severity: v.sos ? 'critical' : v.severity, freshness: s.row.freshness, heading: headingStep(v.position?.track_deg ?? null),
      family: s.family, moving: (v.position?.speed_mps ?? 0) > 0.8, selected, dark: this.dark
    }
    const z = severityRank(look.severity) * 10 + (selected ? 100 : 0)
    const key = lookKey(look)
    let style = this.looks.get(key)
    if (!style) {
      const canvas = drawBus(look)
      style = [new Style({ image: new Icon({ img: canvas, width: MARK_PX, height: MARK_PX, declutterMode: 'none' }), zIndex: z })]
      this.looks.set(key, style)
    }
    const bold = selected || severityRank(look.severity) >= 3
    if (zoom < PLATES_FROM && !bold) return style
    /* The newest look of a bus with its plate; arrays are kept so that an unchanged bus is not touched. */
    const kept = this.plates.get(s.id)
    if (kept && kept[0] === style[0]) return kept
    const labelled = [style[0]!, new Style({ text: this.text(v.plate, 12, 0, 25, bold), zIndex: z })]
    this.plates.set(s.id, labelled)
    return labelled
  }

  private group(list: Shown[]): Style[] {
    let worst: Severity = 'none'
    for (const s of list) if (severityRank(s.row.vehicle.severity) > severityRank(worst)) worst = s.row.vehicle.severity
    const alarms = list.filter((s) => s.row.vehicle.open_findings > 0).length
    const r = Math.min(22, 13 + Math.log2(list.length) * 2)
    const style = new Style({
      image: new Circle({ radius: r, fill: new Fill({ color: this.dark ? '#1a2027' : '#ffffff' }), stroke: new Stroke({ color: this.colour(worst), width: alarms > 0 ? 4 : 2.5 }), declutterMode: 'none' }),
      text: new Text({ declutterMode: 'none', text: alarms > 0 ? `${list.length}·${alarms}!` : String(list.length), font: '600 12px system-ui, sans-serif', fill: new Fill({ color: this.dark ? '#e6eaee' : '#14181c' }) }),
      zIndex: severityRank(worst) * 10
    })
    return [style]
  }

  private text(text: string, size: number, dx: number, dy: number, bold = false): Text {
    return new Text({
      text, declutterMode: bold ? 'obstacle' : 'declutter', offsetX: dx, offsetY: dy, font: `${bold ? 700 : 500} ${size}px system-ui, "Noto Sans CJK SC", sans-serif`,
      fill: new Fill({ color: this.dark ? '#e6eaee' : '#14181c' }), stroke: new Stroke({ color: this.dark ? '#0d1116' : '#ffffff', width: 4 })
    })
  }

  private colour(s: Severity): string {
    const light = { none: '#0b5cad', low: '#0b5cad', medium: '#9a6700', high: '#b34a00', critical: '#b3142a' }
    const dark = { none: '#5ea8f2', low: '#5ea8f2', medium: '#e0b030', high: '#ff9a52', critical: '#ff6b6b' }
    return (this.dark ? dark : light)[s]
  }
}

function mean(list: Shown[]): Coordinate {
  let x = 0, y = 0
  for (const s of list) {
    x += s.xy[0]!
    y += s.xy[1]!
  }
  return [x / list.length, y / list.length]
}
