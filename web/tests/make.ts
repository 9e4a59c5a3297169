/* Whole API objects from the few members a test is about. */
import type { Finding, ParentView, Position, Track, Vehicle } from '../src/api'

export const NOW = Date.UTC(2026, 10, 22, 23, 18, 0) /* 07:18 in Shanghai */

type VehiclePart = Omit<Partial<Vehicle>, 'position'> & { position?: Partial<Position> | null }
export function vehicle(part: VehiclePart = {}): Vehicle {
  const { position, ...rest } = part
  return {
    id: 'b1', plate: '桂B·A1024', route: { id: 'r1', name_zh: '一中 1 号线', name_en: 'No. 1 School line 1' }, freshness: 'fresh',
    position: position === null ? null : { lat: 24.3, lon: 109.4, time_ms: NOW, age_ms: 0, speed_mps: 8, track_deg: 90, hdop: 0.9, satellites: 11, mode: 3, ...position },
    aboard: { persons: 38, pupils: 36, rated: 45, confidence: 0.93, sources: ['counter'], time_ms: NOW, age_ms: 0 },
    doors_open: false, ignition: true, sos: false, link: { connected: true, last_received_ms: NOW }, limit_kmh: 60, severity: 'none', open_findings: 0,
    next_stop: null, delay_s: null, devices: [], ...rest
  }
}

let serial = 0
export function finding(part: Partial<Finding> = {}): Finding {
  serial++
  return {
    id: serial.toString(16).padStart(16, '0'), rule: 'OVL-1', vehicle: 'b1', plate: '桂B·A1024', route: null, state: 'open', severity: 'critical', points: 6,
    criminal_lead: false, late: false, title_zh: '超员', title_en: 'Overload', value: 51, limit: 45, unit: 'persons', over_pct: 13.3, began_ms: NOW - 60_000,
    opened_ms: NOW - 45_000, raised_ms: null, closed_ms: null, lat: 24.3, lon: 109.4, pupils: 49, citations: [], lead_zh: null, lead_en: null, inputs: [],
    law: { pack: 'cn-national', version: '1' }, audience: ['OFF', 'POL'], ack: null, ...part
  }
}

export function parentView(part: Partial<ParentView> = {}): ParentView {
  return {
    plate: '桂B·A1024', route: { name_zh: '一中 1 号线', name_en: 'Line 1' }, stop: { name_zh: '幸福路口', name_en: 'Xingfu Road', planned_ms: NOW + 5 * 60_000 },
    server_time_ms: NOW, expires_ms: NOW + 86_400_000, state: 'coming', stops_away: 3, eta_ms: NOW + 6 * 60_000 + 20_000, delay_s: null, passed_ms: null,
    position: { lat: 24.3, lon: 109.4, age_ms: 3000 }, progress: [], notices: [], ...part
  }
}

export function track(part: Partial<Track> = {}): Track {
  return { vehicle: 'b1', from_ms: NOW - 600_000, to_ms: NOW, points: [], counts: [], doors: [], limits: [], truncated: false, ...part }
}
