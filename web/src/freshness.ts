/*
 * How old a bus's position is, and what may be said of it.
 *
 * The server states age and class at the moment it wrote the message; a bus that sends nothing more is not sent again.
 * So the screen ages what it holds, by its own monotonic clock, and shows the worse of the two views: never fresher than
 * the server said, never fresher than the age allows.
 */
import type { Freshness, Vehicle } from './api'

export interface FreshnessLimits { fresh_ms: number; delayed_ms: number; stale_ms: number }
export const DEFAULT_LIMITS: FreshnessLimits = { fresh_ms: 30_000, delayed_ms: 120_000, stale_ms: 600_000 }

/* The server's own limits, told by the session; the defaults until then. */
let server_limits = DEFAULT_LIMITS
export function setLimits(told: FreshnessLimits | undefined): void { server_limits = told ?? DEFAULT_LIMITS }

/* A screen that heard nothing for this long is cut off (protocol, section 3). */
export const CUT_OFF_MS = 3_000

const ORDER: Freshness[] = ['fresh', 'delayed', 'stale', 'offline']

export function freshnessByAge(age_ms: number, limits: FreshnessLimits = server_limits): Freshness {
  if (age_ms <= limits.fresh_ms) return 'fresh'
  if (age_ms <= limits.delayed_ms) return 'delayed'
  if (age_ms <= limits.stale_ms) return 'stale'
  return 'offline'
}

export function worseFreshness(a: Freshness, b: Freshness): Freshness {
  return ORDER.indexOf(a) >= ORDER.indexOf(b) ? a : b
}

/* Milliseconds since the fix, `held_ms` after the message was received; null when there never was a fix. */
export function positionAge(v: Pick<Vehicle, 'position'>, held_ms: number): number | null {
  return v.position === null ? null : Math.max(0, v.position.age_ms + Math.max(0, held_ms))
}

/*
 * What to show of a vehicle `held_ms` after it was received. `cut_off` is true while nothing at all is heard from the
 * server: then nobody knows whether the bus has moved, and nothing is shown as live.
 */
export function effectiveFreshness(
  v: Pick<Vehicle, 'position' | 'freshness'>, held_ms: number, cut_off: boolean, limits: FreshnessLimits = server_limits
): Freshness {
  if (v.freshness === 'never') return 'never'
  const age_ms = positionAge(v, held_ms)
  /* "The link is alive" was true when it was said; after a stale age of silence it is not known any more. */
  if (v.freshness === 'no_fix') return held_ms > limits.stale_ms ? 'offline' : 'no_fix'
  if (age_ms === null) return v.freshness === 'fresh' ? 'never' : v.freshness
  const shown = worseFreshness(v.freshness, freshnessByAge(age_ms, limits))
  return cut_off ? worseFreshness(shown, 'delayed') : shown
}

/* An arrival forecast from an old position is a guess, and is not shown. */
export function mayShowForecast(f: Freshness): boolean {
  return f === 'fresh' || f === 'delayed'
}
