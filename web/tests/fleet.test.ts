import { describe, expect, it } from 'vitest'
import { compareRows, countRows, Fleet, matchesRow, rowOf, type Row } from '../src/fleet'
import { NOW, vehicle } from './make'

const row = (part: Parameters<typeof vehicle>[0]): Row => rowOf({ vehicle: vehicle(part), received_ms: 0 }, 0, false)
const order = (key: Parameters<typeof compareRows>[0], rows: Row[]) => rows.slice().sort((a, b) => compareRows(key, a, b)).map((r) => r.vehicle.id)

describe('the fleet a screen holds', () => {
  it('keeps only the newest state of each bus', () => {
    const fleet = new Fleet()
    fleet.replace([vehicle({ id: 'a' }), vehicle({ id: 'b' })], 0)
    fleet.merge([vehicle({ id: 'a', position: { time_ms: NOW + 1000, speed_mps: 3 } })], 1000)
    fleet.merge([vehicle({ id: 'a', position: { time_ms: NOW + 2000, speed_mps: 4 } })], 2000)
    expect(fleet.size).toBe(2)
    expect(fleet.get('a')?.vehicle.position?.speed_mps).toBe(4)
    expect(fleet.get('a')?.received_ms).toBe(2000)
    expect(fleet.get('b')?.received_ms).toBe(0)
  })
  it('a slow answer of the HTTP API does not put a bus back in time', () => {
    const fleet = new Fleet()
    const seen = (t: number, speed_mps: number) => vehicle({ id: 'a', link: { connected: true, last_received_ms: t }, position: { time_ms: t, speed_mps } })
    fleet.merge([seen(NOW + 5000, 9)], 5000)
    fleet.replace([seen(NOW + 1000, 1)], 6000)
    expect(fleet.get('a')?.vehicle.position?.speed_mps).toBe(9)
  })
  it('forgets a bus that is not in the complete list any more', () => {
    const fleet = new Fleet()
    fleet.replace([vehicle({ id: 'a' }), vehicle({ id: 'b' })], 0)
    fleet.replace([vehicle({ id: 'b' })], 1)
    expect([...fleet.all()].map((h) => h.vehicle.id)).toEqual(['b'])
  })
  it('ages what it holds without new messages', () => {
    const fleet = new Fleet()
    fleet.replace([vehicle({ id: 'a' })], 1000)
    expect(fleet.rows(2000, false)[0]?.age_ms).toBe(1000)
    expect(fleet.rows(131_000, false)[0]?.freshness).toBe('stale')
  })
})

describe('order of the list', () => {
  const rows = [
    row({ id: 'calm', plate: '桂B·2' }), row({ id: 'calm10', plate: '桂B·10' }), row({ id: 'high', severity: 'high', open_findings: 1 }),
    row({ id: 'critical', severity: 'critical', open_findings: 1 }), row({ id: 'sos', sos: true, severity: 'critical' }),
    row({ id: 'stale', freshness: 'stale', position: { age_ms: 200_000 } }), row({ id: 'offline', freshness: 'offline', position: { age_ms: 900_000 } })
  ]
  it('worst first: SOS, severity, then what is not fresh, then the plate', () => {
    expect(order('worst', rows)).toEqual(['sos', 'critical', 'high', 'stale', 'offline', 'calm', 'calm10'])
  })
  it('plates by number, not by digit', () => {
    expect(order('plate', rows.slice(0, 2))).toEqual(['calm', 'calm10'])
  })
  it('fullest first; a bus without a count is last', () => {
    const some = [row({ id: 'none', aboard: null }), row({ id: 'half', aboard: { ...vehicle().aboard!, persons: 20 } }), row({ id: 'over', aboard: { ...vehicle().aboard!, persons: 51 } })]
    expect(order('aboard', some)).toEqual(['over', 'half', 'none'])
  })
  it('oldest first; a bus never heard is the oldest', () => {
    expect(order('age', [row({ id: 'new' }), row({ id: 'never', freshness: 'never', position: null }), row({ id: 'old', position: { age_ms: 50_000 } })])).toEqual(['never', 'old', 'new'])
  })
})

describe('filters and counts', () => {
  it('finds plates without dots and routes in both languages', () => {
    const r = row({ plate: '桂B·A1024' })
    const f = (text: string) => matchesRow({ text, alarms: false, stale: false }, r)
    expect([f('桂ba1024'), f('a10'), f('1 号线'), f('no. 1 school'), f('zzz')]).toEqual([true, true, true, true, false])
  })
  it('counts each state once', () => {
    const c = countRows([
      row({}), row({ freshness: 'delayed' }), row({ freshness: 'stale', open_findings: 2, severity: 'high' }),
      row({ freshness: 'offline' }), row({ freshness: 'never', position: null }), row({ freshness: 'no_fix' })
    ])
    expect(c).toEqual({ online: 4, total: 6, alarms: 1, stale: 1, offline: 2 })
  })
})
