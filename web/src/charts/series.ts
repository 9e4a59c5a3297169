/*
 * From a Track of the API to what the charts draw, and the live continuation of a track from the newest states of its bus.
 */
import type { Finding, Route, Track, Vehicle } from '../api'
import { plannedLimit_kmh } from '../geo'

/* Between two fixes further apart than this nothing is known, and no line is drawn. */
export const GAP_MS = 30_000
export const WINDOW_MS = 10 * 60_000
const KMH = 3.6

export interface Curve { x: number[]; values: (number | null)[][] }

/* Append the newest state of the bus to its track; drops what left the window. False if there was nothing new. */
export function appendLive(track: Track, v: Vehicle, keep_ms: number): boolean {
  let changed = false
  const p = v.position
  const last = track.points[track.points.length - 1]
  if (p !== null && p.speed_mps !== undefined && (last === undefined || p.time_ms > last[0])) {
    track.points.push([p.time_ms, p.lat, p.lon, p.speed_mps, p.track_deg, p.mode, 0])
    const limit = track.limits[track.limits.length - 1]
    if (limit === undefined || limit[1] !== v.limit_kmh) track.limits.push([p.time_ms, v.limit_kmh])
    track.to_ms = Math.max(track.to_ms, p.time_ms)
    changed = true
  }
  const a = v.aboard
  const lastCount = track.counts[track.counts.length - 1]
  if (a !== null && (lastCount === undefined || (a.time_ms > lastCount[0] && a.persons !== lastCount[1]))) {
    track.counts.push([a.time_ms, a.persons, a.confidence])
    changed = true
  }
  const door = v.doors_open === null ? null : v.doors_open ? 1 : 0
  const lastDoor = track.doors[track.doors.length - 1]
  if (door !== null && p !== null && (lastDoor === undefined || (p.time_ms > lastDoor[0] && door !== lastDoor[1]))) {
    track.doors.push([p.time_ms, door])
    changed = true
  }
  const oldest = track.to_ms - keep_ms
  while (track.points.length > 0 && track.points[0]![0] < oldest) track.points.shift()
  /* The last step before the window still says what held at its beginning. */
  while (track.counts.length > 1 && track.counts[1]![0] < oldest) track.counts.shift()
  while (track.doors.length > 1 && track.doors[1]![0] < oldest) track.doors.shift()
  while (track.limits.length > 1 && track.limits[1]![0] < oldest) track.limits.shift()
  track.from_ms = Math.max(track.from_ms, oldest)
  return changed
}

export type LimitAt = (time_ms: number, lon: number, lat: number) => number | null

/* The limit the server said was in force; before its first word, the one of the route's plan. */
export function limitFrom(steps: [number, number | null][], route: Route | null): LimitAt {
  return (time_ms, lon, lat) => {
    const first = steps[0]
    if (first === undefined || time_ms < first[0]) return route === null ? null : plannedLimit_kmh(route, [lon, lat])
    let limit: number | null = null
    for (const [from, value] of steps) {
      if (from > time_ms) break
      limit = value
    }
    return limit
  }
}

export function limitOfFinding(f: Finding): LimitAt {
  return (time_ms) => (f.unit === 'km/h' && time_ms >= f.began_ms && time_ms <= (f.closed_ms ?? Infinity) ? f.limit : null)
}

/* Speed and limit over time, seconds and km/h, with a hole wherever nothing was reported. */
export function speedCurve(track: Track, limitAt: LimitAt): Curve {
  const x: number[] = [], speed: (number | null)[] = [], limit: (number | null)[] = []
  let last: number | null = null
  for (const [t, lat, lon, mps] of track.points) {
    if (last !== null && t <= last) continue
    if (last !== null && t - last > GAP_MS) {
      x.push((last + 1) / 1000)
      speed.push(null)
      limit.push(null)
    }
    x.push(t / 1000)
    speed.push(mps === null ? null : Math.round(mps * KMH * 10) / 10)
    limit.push(limitAt(t, lon, lat))
    last = t
  }
  return { x, values: [speed, limit] }
}

/* Persons aboard as steps, held until `to_ms`, and the rated number beside it. */
export function aboardCurve(track: Track, rated: number | null, from_ms: number, to_ms: number): Curve {
  const x: number[] = [], persons: (number | null)[] = []
  for (const [t, n] of track.counts) {
    const at = Math.max(t, from_ms) / 1000
    if (t > to_ms) break
    if (x.length > 0 && at <= x[x.length - 1]!) persons[persons.length - 1] = n
    else {
      x.push(at)
      persons.push(n)
    }
  }
  if (x.length > 0 && x[x.length - 1]! < to_ms / 1000) {
    x.push(to_ms / 1000)
    persons.push(persons[persons.length - 1] ?? null)
  }
  if (x.length > 0 && x[0]! > from_ms / 1000) {
    x.unshift(from_ms / 1000)
    persons.unshift(null)
  }
  return { x, values: [persons, x.map(() => rated)] }
}

/* Intervals in which a door was open, in seconds. */
export function doorSpans(track: Track, to_ms: number): [number, number][] {
  const spans: [number, number][] = []
  let from: number | null = null
  for (const [t, open] of track.doors) {
    if (open === 1 && from === null) from = t
    if (open === 0 && from !== null) {
      spans.push([from / 1000, t / 1000])
      from = null
    }
  }
  if (from !== null) spans.push([from / 1000, to_ms / 1000])
  return spans
}
