/* Small geometry on the sphere, good to a few decimetres at a bus's scale: equirectangular about the first point. */
import type { Route } from './api'

const EARTH_M = 6_371_008.8
const RAD = Math.PI / 180

export function distance_m(a: [number, number], b: [number, number]): number {
  const x = (b[0] - a[0]) * RAD * Math.cos(((a[1] + b[1]) / 2) * RAD)
  const y = (b[1] - a[1]) * RAD
  return Math.hypot(x, y) * EARTH_M
}

export interface Along { along_m: number; offset_m: number }

/* Where the point [lon, lat] lies along a line of [lon, lat]: metres from its start, and metres beside it. */
export function alongLine(line: [number, number][], p: [number, number]): Along | null {
  let best: Along | null = null
  let start_m = 0
  for (let i = 1; i < line.length; i++) {
    const a = line[i - 1]!
    const b = line[i]!
    const k = Math.cos(((a[1] + b[1]) / 2) * RAD)
    const bx = (b[0] - a[0]) * k, by = b[1] - a[1]
    const px = (p[0] - a[0]) * k, py = p[1] - a[1]
    const len2 = bx * bx + by * by
    const t = len2 === 0 ? 0 : Math.min(1, Math.max(0, (px * bx + py * by) / len2))
    const offset_m = Math.hypot(px - t * bx, py - t * by) * RAD * EARTH_M
    const leg_m = Math.sqrt(len2) * RAD * EARTH_M
    if (best === null || offset_m < best.offset_m) best = { along_m: start_m + t * leg_m, offset_m }
    start_m += leg_m
  }
  return best
}

/* The limit written into the route's plan where the point is; null off the corridor or where the plan has none. */
export function plannedLimit_kmh(route: Route, p: [number, number]): number | null {
  const at = alongLine(route.line, p)
  if (at === null || at.offset_m > Math.max(30, route.corridor_m)) return null
  const segment = route.segments.find((s) => at.along_m >= s.from_m && at.along_m < s.to_m)
  return segment?.limit_kmh ?? null
}
