/*
 * The server's HTTP and JSON contract (docs/protocol.md, section 2) as types, and a small client for it.
 * Written by hand on purpose: one file that a reader can hold against the protocol.
 */
import type { FreshnessLimits } from './freshness'

export type Freshness = 'fresh' | 'delayed' | 'stale' | 'offline' | 'no_fix' | 'never'
export type Severity = 'none' | 'low' | 'medium' | 'high' | 'critical'
export type Role = 'officer' | 'police' | 'admin'

export interface Session { name: string; role: Role; server_time_ms: number; version: string; time_zone: string; freshness: FreshnessLimits }

export interface Named { id: string; name_zh: string; name_en: string }

export interface Position {
  lat: number; lon: number; time_ms: number; age_ms: number
  speed_mps: number | null; track_deg: number | null; hdop: number | null; satellites: number | null; mode: number
}
export interface Aboard {
  persons: number; pupils: number | null; rated: number; confidence: number | null
  sources: string | string[] | null; time_ms: number; age_ms: number
}
export interface NextStop extends Named { eta_ms: number | null; planned_ms: number | null; stops_to_go: number }
export interface Device { name: string; kind: string; state: 'ok' | 'silent' | 'failed' | 'absent'; since_ms: number | null }

export interface Vehicle {
  id: string
  plate: string
  route: Named | null
  freshness: Freshness
  position: Position | null
  aboard: Aboard | null
  doors_open: boolean | null
  ignition: boolean | null
  sos: boolean
  link: { connected: boolean; last_received_ms: number | null }
  limit_kmh: number | null
  severity: Severity
  open_findings: number
  next_stop: NextStop | null
  delay_s: number | null
  devices: Device[]
}

/* [time_ms, lat, lon, speed_mps|null, track_deg|null, mode, flags]; flags bit 0: arrived late */
export type TrackPoint = [number, number, number, number | null, number | null, number, number]
export interface Track {
  vehicle: string; from_ms: number; to_ms: number
  points: TrackPoint[]
  counts: [number, number, number | null][]
  doors: [number, 0 | 1][]
  limits: [number, number | null][]
  truncated: boolean
}
export const TRACK_LATE = 1

export interface Stop extends Named { lat: number; lon: number; along_m: number; offset_s: number }
export interface Segment { from_m: number; to_m: number; limit_kmh: number | null; road_class: string; hazard: string | null }
export interface Route extends Named { line: [number, number][]; corridor_m: number; stops: Stop[]; segments: Segment[] }

export interface Citation { code: string; article: string; zh: string; en: string; mark: 'primary' | 'secondary' | 'advice' }
export interface FindingInput { name: string; source: string; confidence: number | null; age_ms: number | null }
export interface Acknowledgement { by: string; at_ms: number; note: string | null }

export interface Finding {
  id: string
  rule: string
  vehicle: string
  plate: string
  route: Named | string | null
  state: 'open' | 'closed'
  severity: Severity
  points: number | null
  criminal_lead: boolean
  late: boolean
  title_zh: string
  title_en: string
  value: number | null
  limit: number | null
  unit: string
  over_pct: number | null
  began_ms: number
  opened_ms: number
  raised_ms: number | null
  closed_ms: number | null
  lat: number | null
  lon: number | null
  pupils: number | null
  citations: Citation[]
  lead_zh: string | null
  lead_en: string | null
  inputs: FindingInput[]
  law: { pack: string; version: string }
  audience: string[]
  ack: Acknowledgement | null
}

/* What has arrived of a finding's pictures and clips. */
export interface MediaItem {
  sha256: string; time_ms: number; unit: 'adas' | 'dsm' | 'tpms' | 'bsd'; unit_zh: string; unit_en: string
  type: 'picture' | 'audio' | 'video'; alarm_id: number; bytes: number
}

export type OrderKind = 'locate' | 'text' | 'buzzer' | 'snapshot' | 'restart_device'
export type OrderState = 'waiting' | 'sent' | 'done' | 'failed' | 'expired' | 'replaced'
export interface Order {
  id: string; kind: OrderKind | 'config' | 'duty' | 'law' | 'rotate'; text: string | null; number: number | null; version: number | null
  by: string; state: OrderState; result: string | null; created_ms: number; expires_ms: number; answered_ms: number | null
}
export interface NewOrder { kind: OrderKind; text?: string; number?: number; expires_s?: number }

export interface Report {
  time_ms: number; clock: 'none' | 'saved' | 'system' | 'ntp' | 'gnss'; clock_offset_ms: number; uptime_s: number; boots: number; starts: number
  safe_mode: boolean; firmware: string; duty: string; law: string; config: 'factory' | 'kept' | 'trial'
  config_version: number; duty_version: number; law_version: number
  connected: boolean; connects: number; ack_ms: number | null
  disk_free: number | null; disk_size: number | null; board_mc: number | null; supply_mv: number | null; rss_bytes: number | null
  waiting_bulk: number; waiting_urgent: number; outbox_bytes: number | null; written_per_day: number | null
  lost: number; given_up: number; bad: number
  devices: { name: string; driver: string; kind: string; state: string; events: number; errors: number; opens: number; input_age_ms: number | null }[]
}
export interface Gateway {
  id: string; vehicle: string | null; state: 'new' | 'enrolled' | 'revoked'; connected: boolean; own_secret: boolean; rotating: boolean
  code_expires_ms: number | null; enrolled_ms: number | null; seen_ms: number | null; serial: string | null; firmware: string | null
  bundles: { kind: 'config' | 'duty' | 'law'; wanted: number; confirmed: number }[]
  orders_waiting: number; report_ms: number | null; report: Report | null
}

export type ParentState = 'not_running' | 'coming' | 'arriving' | 'at_stop' | 'passed' | 'no_signal'
export interface ParentView {
  plate: string
  route: { name_zh: string; name_en: string }
  stop: { name_zh: string; name_en: string; planned_ms: number | null }
  server_time_ms: number
  expires_ms: number
  state: ParentState
  stops_away: number | null
  eta_ms: number | null
  delay_s: number | null
  passed_ms: number | null
  position: { lat: number; lon: number; age_ms: number } | null
  progress: { mine: boolean; state: 'passed' | 'next' | 'ahead' }[]
  notices: { kind: string; at_ms: number }[]
}

export interface MapSet {
  set: string; name_zh: string; name_en: string; min_zoom: number; max_zoom: number
  bounds: [number, number, number, number]; attribution: string; crs: string
}

export type LiveMessage =
  | { type: 'hello'; server_time_ms: number; role: Role }
  | { type: 'positions'; server_time_ms: number; vehicles: Vehicle[] }
  | { type: 'finding'; change: 'opened' | 'raised' | 'closed' | 'acknowledged'; finding: Finding }

/* status 0: no answer at all (network); otherwise the HTTP status with the server's own code and hint. */
export class ApiError extends Error {
  constructor(readonly status: number, readonly code: string, message: string, readonly hint: string | null = null) {
    super(message)
    this.name = 'ApiError'
  }
}

export interface FindingQuery {
  state?: 'open' | 'closed'; rule?: string; severity?: Severity; vehicle?: string
  from_ms?: number; to_ms?: number; limit?: number; cursor?: string
}

const REQUEST_TIMEOUT_MS = 15000

export class Api {
  constructor(private readonly token: string, private readonly base = '/api/v1') {}

  session() { return this.call<Session>('GET', '/session') }
  liveTicket() { return this.call<{ ticket: string; expires_ms: number }>('POST', '/live-tickets', {}) }
  vehicles() { return this.call<{ server_time_ms: number; vehicles: Vehicle[] }>('GET', '/vehicles') }
  track(vehicle: string, from_ms: number, to_ms: number, limit = 4000) {
    return this.call<Track>('GET', `/vehicles/${encodeURIComponent(vehicle)}/track${query({ from_ms, to_ms, limit })}`)
  }
  routes() { return this.call<{ routes: Route[] }>('GET', '/routes') }
  route(id: string) { return this.call<Route>('GET', `/routes/${encodeURIComponent(id)}`) }
  findings(q: FindingQuery = {}) {
    return this.call<{ findings: Finding[]; next_cursor: string | null }>('GET', `/findings${query({ ...q })}`)
  }
  finding(id: string) { return this.call<Finding>('GET', `/findings/${encodeURIComponent(id)}`) }
  evidence(id: string) { return this.call<Track>('GET', `/findings/${encodeURIComponent(id)}/evidence`) }
  media(id: string) { return this.call<{ media: MediaItem[] }>('GET', `/findings/${encodeURIComponent(id)}/media`) }
  mediaBytes(sha256: string) { return this.call<ArrayBuffer>('GET', `/media/${encodeURIComponent(sha256)}`, undefined, (a) => a.arrayBuffer()) }
  orders(vehicle: string, limit = 10) { return this.call<{ orders: Order[] }>('GET', `/vehicles/${encodeURIComponent(vehicle)}/orders${query({ limit })}`) }
  order(vehicle: string, order: NewOrder) { return this.call<Order>('POST', `/vehicles/${encodeURIComponent(vehicle)}/orders`, order) }
  gateways() { return this.call<{ server_time_ms: number; gateways: Gateway[] }>('GET', '/gateways') }
  gateway(id: string) { return this.call<Gateway>('GET', `/gateways/${encodeURIComponent(id)}`) }
  acknowledge(id: string, note: string) {
    const body = note.trim() === '' ? {} : { note: note.trim() }
    return this.call<Finding>('POST', `/findings/${encodeURIComponent(id)}/acknowledgements`, body)
  }
  parentLink(vehicle: string, stop: string, valid_until_ms: number | null) {
    const body = valid_until_ms === null ? { vehicle, stop } : { vehicle, stop, valid_until_ms }
    return this.call<{ url: string; expires_ms: number }>('POST', '/parent-links', body)
  }
  parent() { return this.call<ParentView>('GET', '/parent') }
  maps() { return this.call<{ maps: MapSet[] }>('GET', '/maps') }

  private async call<T>(method: string, path: string, body?: unknown, read = (a: Response): Promise<unknown> => a.json()): Promise<T> {
    const abort = new AbortController()
    const timer = setTimeout(() => abort.abort(), REQUEST_TIMEOUT_MS)
    try {
      const headers: Record<string, string> = { Authorization: `Bearer ${this.token}`, Accept: '*/*' }
      if (body !== undefined) headers['Content-Type'] = 'application/json'
      const answer = await fetch(this.base + path, {
        method, headers, signal: abort.signal, cache: 'no-store',
        body: body === undefined ? undefined : JSON.stringify(body)
      })
      if (!answer.ok) throw await refusal(answer)
      return (await read(answer)) as T
    } catch (error) {
      if (error instanceof ApiError) throw error
      throw new ApiError(0, 'network', error instanceof Error ? error.message : String(error))
    } finally {
      clearTimeout(timer)
    }
  }
}

async function refusal(answer: Response): Promise<ApiError> {
  let code = `http_${answer.status}`
  let message = answer.statusText
  let hint: string | null = null
  try {
    const body = (await answer.json()) as { error?: { code?: string; message?: string; hint?: string } }
    code = body.error?.code ?? code
    message = body.error?.message ?? message
    hint = body.error?.hint ?? null
  } catch {
    /* A proxy in between may answer with something that is not JSON; the status says enough. */
  }
  return new ApiError(answer.status, code, message, hint)
}

function query(values: Record<string, string | number | undefined>): string {
  const list = Object.entries(values).filter(([, v]) => v !== undefined)
  if (list.length === 0) return ''
  return '?' + list.map(([k, v]) => `${k}=${encodeURIComponent(String(v))}`).join('&')
}
