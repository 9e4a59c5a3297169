/*
 * All buses this screen knows: a plain Map outside Vue's deep reactivity, and one counter that says "something changed".
 * Positions are conflated by the server and again here: only the newest state of a bus is kept, and the pages redraw at
 * most once per second however many messages come.
 */
import { shallowRef, triggerRef, type ShallowRef } from 'vue'
import type { Freshness, Severity, Vehicle } from './api'
import { effectiveFreshness, positionAge } from './freshness'

export interface Held { vehicle: Vehicle; received_ms: number }

export interface Row {
  vehicle: Vehicle
  freshness: Freshness
  age_ms: number | null
  over: boolean
}

export const SEVERITIES: Severity[] = ['none', 'low', 'medium', 'high', 'critical']
export function severityRank(s: Severity): number {
  return Math.max(0, SEVERITIES.indexOf(s))
}

export class Fleet {
  readonly version: ShallowRef<number> = shallowRef(0)
  private readonly held = new Map<string, Held>()

  /* The complete fleet: what is not in it is gone. */
  replace(list: Vehicle[], now_ms: number): void {
    const keep = new Set(list.map((v) => v.id))
    for (const id of this.held.keys()) if (!keep.has(id)) this.held.delete(id)
    this.merge(list, now_ms)
  }

  /* What changed. An older state that arrives late (a slow answer of the HTTP API) never replaces a newer one. */
  merge(list: Vehicle[], now_ms: number): void {
    for (const vehicle of list) {
      const old = this.held.get(vehicle.id)?.vehicle
      if (old && newerThan(old, vehicle)) continue
      this.held.set(vehicle.id, { vehicle, received_ms: now_ms })
    }
    this.version.value++
    triggerRef(this.version)
  }

  get(id: string): Held | undefined { return this.held.get(id) }
  get size(): number { return this.held.size }
  all(): IterableIterator<Held> { return this.held.values() }

  rows(now_ms: number, cut_off: boolean): Row[] {
    const rows: Row[] = []
    for (const held of this.held.values()) rows.push(rowOf(held, now_ms, cut_off))
    return rows
  }
}

export function rowOf(held: Held, now_ms: number, cut_off: boolean): Row {
  const v = held.vehicle
  const held_ms = now_ms - held.received_ms
  return {
    vehicle: v,
    freshness: effectiveFreshness(v, held_ms, cut_off),
    age_ms: positionAge(v, held_ms),
    over: v.aboard !== null && v.aboard.persons > v.aboard.rated
  }
}

/* True when `a` is known to be newer than `b`, by the time its last data was received or measured. */
function newerThan(a: Vehicle, b: Vehicle): boolean {
  const heard = (v: Vehicle) => Math.max(v.link.last_received_ms ?? 0, v.position?.time_ms ?? 0)
  return heard(a) > heard(b) && heard(b) > 0
}

export interface Counts { online: number; total: number; alarms: number; stale: number; offline: number }

/* A bus with a closed link or a position older than the limit is offline; one that never reported is offline too. */
export function countRows(rows: Row[]): Counts {
  const c: Counts = { online: 0, total: rows.length, alarms: 0, stale: 0, offline: 0 }
  for (const r of rows) {
    if (r.freshness === 'offline' || r.freshness === 'never') c.offline++
    else c.online++
    if (r.freshness === 'stale') c.stale++
    if (r.vehicle.open_findings > 0 || r.vehicle.sos) c.alarms++
  }
  return c
}

/* Made once: localeCompare with options would make one for each of the many thousand comparisons. */
const collator = new Intl.Collator('zh-CN', { numeric: true })
const byPlate = (a: Row, b: Row) => collator.compare(a.vehicle.plate, b.vehicle.plate)

export type SortKey = 'worst' | 'plate' | 'route' | 'aboard' | 'speed' | 'age'

const FRESH_RANK: Record<Freshness, number> = { offline: 3, stale: 4, no_fix: 2, delayed: 1, never: 0, fresh: 0 }

/* Worst first: emergencies (SOS, left behind, fire), severity of open findings, then buses whose data is not fresh, then delay, then plate. */
export function compareRows(key: SortKey, a: Row, b: Row, emergency: (r: Row) => boolean = (r) => r.vehicle.sos): number {
  switch (key) {
    case 'plate':
      return byPlate(a, b)
    case 'route':
      return collator.compare(a.vehicle.route?.id ?? '~', b.vehicle.route?.id ?? '~') || byPlate(a, b)
    case 'aboard':
      return load(b) - load(a) || byPlate(a, b)
    case 'speed':
      return (b.vehicle.position?.speed_mps ?? -1) - (a.vehicle.position?.speed_mps ?? -1) || byPlate(a, b)
    case 'age':
      return (b.age_ms ?? Infinity) - (a.age_ms ?? Infinity) || byPlate(a, b)
    default:
      return (
        Number(emergency(b)) - Number(emergency(a)) ||
        severityRank(b.vehicle.severity) - severityRank(a.vehicle.severity) ||
        FRESH_RANK[b.freshness] - FRESH_RANK[a.freshness] ||
        byPlate(a, b)
      )
  }
}

function load(r: Row): number {
  const a = r.vehicle.aboard
  return a === null || a.rated <= 0 ? -1 : a.persons / a.rated
}

export interface RowFilter { text: string; alarms: boolean; stale: boolean }

export function matchesRow(f: RowFilter, r: Row): boolean {
  const v = r.vehicle
  if (f.alarms && v.open_findings === 0 && !v.sos) return false
  if (f.stale && r.freshness !== 'stale' && r.freshness !== 'offline' && r.freshness !== 'no_fix') return false
  if (f.text.trim() === '') return true
  /* Plates are written with and without the dot; people type neither dots nor spaces. */
  const bare = (s: string) => s.toLowerCase().replace(/[\s··.\-]/g, '')
  const wanted = bare(f.text)
  return [v.plate, v.id, v.route?.name_zh, v.route?.name_en].some((s) => s !== undefined && bare(s).includes(wanted))
}
