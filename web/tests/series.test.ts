import { describe, expect, it } from 'vitest'
import type { Route, TrackPoint } from '../src/api'
import { aboardCurve, appendLive, doorSpans, limitFrom, speedCurve } from '../src/charts/series'
import { alongLine, distance_m, plannedLimit_kmh } from '../src/geo'
import { NOW, track, vehicle } from './make'

const p = (t: number, mps: number | null = 10): TrackPoint => [NOW + t, 24.3, 109.4, mps, 90, 3, 0]

describe('the speed curve', () => {
  it('has a hole where nothing was reported for half a minute', () => {
    const c = speedCurve(track({ points: [p(0), p(1000), p(40_000)] }), () => 60)
    expect(c.values[0]).toEqual([36, 36, null, 36])
    expect(c.x).toEqual([...c.x].sort((a, b) => a - b))
  })
  it('unknown speed is a hole, not zero', () => expect(speedCurve(track({ points: [p(0, null)] }), () => null).values).toEqual([[null], [null]]))
  it('drops a point that repeats or goes back in time', () => expect(speedCurve(track({ points: [p(1000), p(1000), p(0), p(2000)] }), () => null).x).toHaveLength(2))
})

describe('the load curve', () => {
  it('is held until now and begins unknown', () => {
    const c = aboardCurve(track({ counts: [[NOW - 60_000, 40, 1], [NOW - 30_000, 46, 1]] }), 45, NOW - 120_000, NOW)
    expect(c.x).toEqual([-120, -60, -30, 0].map((s) => NOW / 1000 + s))
    expect(c.values).toEqual([[null, 40, 46, 46], [45, 45, 45, 45]])
  })
  it('what held before the window holds at its beginning', () => {
    const c = aboardCurve(track({ counts: [[NOW - 900_000, 12, 1], [NOW - 800_000, 13, 1], [NOW - 10_000, 20, 1]] }), null, NOW - 60_000, NOW)
    expect(c.values[0]).toEqual([13, 20, 20])
  })
})

describe('doors', () => {
  it('an open door is open until now', () => {
    expect(doorSpans(track({ doors: [[NOW - 9000, 1], [NOW - 5000, 0], [NOW - 1000, 1]] }), NOW)).toEqual([[NOW / 1000 - 9, NOW / 1000 - 5], [NOW / 1000 - 1, NOW / 1000]])
  })
})

describe('the live continuation', () => {
  it('appends what is new once, and forgets what left the window', () => {
    const t = track({ from_ms: NOW - 60_000, points: [p(-60_000), p(0)], counts: [[NOW - 60_000, 38, 1]], doors: [[NOW - 60_000, 0]], limits: [[NOW - 60_000, 60]] })
    const v = vehicle({ doors_open: true, limit_kmh: 20, position: { time_ms: NOW + 1000 } })
    expect(appendLive(t, v, 30_000)).toBe(true)
    expect(appendLive(t, v, 30_000)).toBe(false)
    expect(t.points.map((x) => x[0] - NOW)).toEqual([0, 1000])
    expect(t.counts).toHaveLength(1)
    expect(t.doors).toEqual([[NOW - 60_000, 0], [NOW + 1000, 1]])
    expect(t.limits).toEqual([[NOW - 60_000, 60], [NOW + 1000, 20]])
  })
})

const route: Route = {
  id: 'r', name_zh: '', name_en: '', corridor_m: 50, stops: [], line: [[109.4, 24.3], [109.41, 24.3], [109.41, 24.31]],
  segments: [{ from_m: 0, to_m: 500, limit_kmh: 60, road_class: 'primary', hazard: null }, { from_m: 500, to_m: 3000, limit_kmh: 20, road_class: 'primary', hazard: 'school' }]
}

describe('along the route', () => {
  it('a hundredth of a degree of longitude at 24.3 N is 1013 m', () => expect(distance_m([109.4, 24.3], [109.41, 24.3])).toBeCloseTo(1013.4, 0))
  it('measures along and beside', () => {
    const at = alongLine(route.line, [109.411, 24.305])!
    expect(at.along_m).toBeCloseTo(1013.4 + 556, 0)
    expect(at.offset_m).toBeCloseTo(101.3, 0)
  })
  it('the planned limit holds on the route only', () => {
    expect(plannedLimit_kmh(route, [109.402, 24.3])).toBe(60)
    expect(plannedLimit_kmh(route, [109.41, 24.305])).toBe(20)
    expect(plannedLimit_kmh(route, [109.43, 24.305])).toBeNull()
  })
  it('what the server said goes before what the plan says', () => {
    const limit = limitFrom([[NOW, 40], [NOW + 5000, null]], route)
    expect([limit(NOW - 1, 109.402, 24.3), limit(NOW + 1, 109.402, 24.3), limit(NOW + 6000, 109.402, 24.3)]).toEqual([60, 40, null])
  })
})
