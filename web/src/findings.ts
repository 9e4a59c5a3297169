/*
 * The findings a screen knows, and their order. A finding is never dropped while it is open or not acknowledged; of the
 * closed and acknowledged ones the newest few hundred are kept.
 */
import { shallowRef, triggerRef, type ShallowRef } from 'vue'
import type { Finding } from './api'
import { severityRank } from './fleet'

export type Desk = 'waiting' | 'acknowledged' | 'closed'

const KEEP_DONE = 400

/* Which tab a finding belongs to: one that ended unseen still waits for somebody to see it. */
export function deskOf(f: Finding): Desk {
  if (f.ack === null) return 'waiting'
  return f.state === 'open' ? 'acknowledged' : 'closed'
}

export class Findings {
  readonly version: ShallowRef<number> = shallowRef(0)
  private readonly byId = new Map<string, Finding>()

  /*
   * Everything that is open now, and some others. What was held as open and is not in the list has ended unheard; what
   * had ended before (somebody looks at an old one) stays.
   */
  refresh(list: Finding[]): void {
    const known = new Set(list.map((f) => f.id))
    for (const [id, f] of this.byId) if (f.state === 'open' && !known.has(id)) this.byId.delete(id)
    this.merge(list)
  }

  merge(list: Finding[]): void {
    for (const f of list) this.byId.set(f.id, f)
    this.trim()
    this.version.value++
    triggerRef(this.version)
  }

  get(id: string): Finding | undefined { return this.byId.get(id) }
  all(): Finding[] { return [...this.byId.values()] }

  private trim(): void {
    const done = this.all().filter((f) => deskOf(f) === 'closed')
    if (done.length <= KEEP_DONE) return
    done.sort((a, b) => a.opened_ms - b.opened_ms)
    for (const f of done.slice(0, done.length - KEEP_DONE)) this.byId.delete(f.id)
  }
}

/* Severity first, then the one that has waited longest. */
export function bySeverityThenAge(a: Finding, b: Finding): number {
  return severityRank(b.severity) - severityRank(a.severity) || a.opened_ms - b.opened_ms || (a.id < b.id ? -1 : 1)
}

/* The officer's table: unfinished business first (open before ended, unacknowledged before acknowledged), newest last of equals. */
export function byUrgency(a: Finding, b: Finding): number {
  const rank = (f: Finding) => (f.state === 'open' ? (f.ack === null ? 0 : 1) : f.ack === null ? 2 : 3)
  return rank(a) - rank(b) || (rank(a) >= 2 ? b.opened_ms - a.opened_ms : bySeverityThenAge(a, b))
}

/*
 * What must be heard: critical, open, seen by nobody, and not an old story that only arrived now. The one-key alarm passes no filter: pressed where there
 * was no cover, it is heard when it arrives, as long as nobody has released or seen it; so is a pupil who may be left in a bus.
 */
export function mustSound(f: Finding): boolean {
  return f.severity === 'critical' && f.state === 'open' && f.ack === null && (!f.late || f.rule === 'SOS-1' || f.rule === 'LFT-1')
}

export function durationOf(f: Finding, now_ms: number): number {
  return Math.max(0, (f.closed_ms ?? now_ms) - f.began_ms)
}

/* "OVL-1" -> "OVL": the family decides the glyph. */
export type Family = 'overload' | 'speed' | 'route' | 'sos' | 'camera' | 'door' | 'gps' | 'other'
export function familyOf(rule: string): Family {
  switch (rule.split('-')[0]) {
    case 'OVL': return 'overload'
    case 'SPD': return 'speed'
    case 'RTE': return 'route'
    case 'SOS': return 'sos'
    case 'CAM': case 'DRV': case 'ADS': case 'DSM': return 'camera'
    case 'STP': case 'DOR': return 'door'
    case 'DEV': case 'GPS': return 'gps'
    default: return 'other'
  }
}
