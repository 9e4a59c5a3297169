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

/* Somebody calls for help, a pupil may be left in the bus, it burns: before any other of the same severity, and heard though muted. */
const EMERGENCIES = new Set(['SOS-1', 'LFT-1', 'FIR-1'])
export const isEmergency = (f: Pick<Finding, 'rule'>): boolean => EMERGENCIES.has(f.rule)

/* Severity first, emergencies before others of it, then the one that has waited longest. */
export function bySeverityThenAge(a: Finding, b: Finding): number {
  return severityRank(b.severity) - severityRank(a.severity) || Number(isEmergency(b)) - Number(isEmergency(a)) || a.opened_ms - b.opened_ms || (a.id < b.id ? -1 : 1)
}

/* The officer's table: unfinished business first (open before ended, unacknowledged before acknowledged), newest last of equals. */
export function byUrgency(a: Finding, b: Finding): number {
  const rank = (f: Finding) => (f.state === 'open' ? (f.ack === null ? 0 : 1) : f.ack === null ? 2 : 3)
  return rank(a) - rank(b) || (rank(a) >= 2 ? b.opened_ms - a.opened_ms : bySeverityThenAge(a, b))
}

/*
 * What must be heard: critical, open, seen by nobody, and not an old story that only arrived now. An emergency passes no filter: where there was no
 * cover, it is heard when it arrives, as long as it has not ended and nobody has seen it.
 */
export function mustSound(f: Finding): boolean {
  return f.severity === 'critical' && f.state === 'open' && f.ack === null && (!f.late || isEmergency(f))
}

export function durationOf(f: Finding, now_ms: number): number {
  return Math.max(0, (f.closed_ms ?? now_ms) - f.began_ms)
}

/* "OVL-1" -> "OVL": the family decides the glyph, and is what lists are filtered by. */
export type Family = 'sos' | 'left' | 'fire' | 'overload' | 'speed' | 'route' | 'door' | 'care' | 'driver' | 'camera' | 'lamp' | 'device' | 'other'
/* The gravest first. */
export const FAMILIES: Family[] = ['sos', 'left', 'fire', 'overload', 'speed', 'route', 'door', 'care', 'driver', 'camera', 'lamp', 'device', 'other']
export function familyOf(rule: string): Family {
  switch (rule.split('-')[0]) {
    case 'SOS': return 'sos'
    case 'LFT': return 'left'
    case 'FIR': return 'fire'
    case 'OVL': return 'overload'
    case 'SPD': return 'speed'
    case 'RTE': return 'route'
    case 'STP': case 'DOR': return 'door'
    case 'ATT': return 'care'
    case 'DRV': return 'driver'
    case 'CAM': case 'ADS': case 'DSM': return 'camera'
    case 'LMP': return 'lamp'
    case 'DEV': case 'GPS': return 'device'
    default: return 'other'
  }
}

/* The families there are among these, with how many. */
export function familiesIn(list: Finding[]): { family: Family; n: number }[] {
  const n = new Map<Family, number>()
  for (const f of list) n.set(familyOf(f.rule), (n.get(familyOf(f.rule)) ?? 0) + 1)
  return FAMILIES.filter((x) => n.has(x)).map((family) => ({ family, n: n.get(family)! }))
}
