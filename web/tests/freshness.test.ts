import { describe, expect, it } from 'vitest'
import { CUT_OFF_MS, effectiveFreshness, freshnessByAge, mayShowForecast, positionAge, setLimits, worseFreshness } from '../src/freshness'
import { vehicle } from './make'

describe('freshness by age', () => {
  it.each([[0, 'fresh'], [30_000, 'fresh'], [30_001, 'delayed'], [120_000, 'delayed'], [120_001, 'stale'], [600_000, 'stale'], [600_001, 'offline']] as const)(
    '%i ms is %s', (age, expected) => expect(freshnessByAge(age)).toBe(expected)
  )
  it('the limits the server tells replace the defaults, and go with an older server', () => {
    setLimits({ fresh_ms: 5_000, delayed_ms: 10_000, stale_ms: 20_000 })
    expect([5_000, 5_001, 10_001, 20_001].map((age) => freshnessByAge(age))).toEqual(['fresh', 'delayed', 'stale', 'offline'])
    expect(effectiveFreshness(vehicle({ freshness: 'fresh', position: { age_ms: 4_000 } }), 1_001, false)).toBe('delayed')
    setLimits(undefined)
    expect(freshnessByAge(30_000)).toBe('fresh')
  })
  it('the worse of two is kept', () => {
    expect(worseFreshness('fresh', 'stale')).toBe('stale')
    expect(worseFreshness('offline', 'delayed')).toBe('offline')
  })
})

describe('what a screen shows of a bus it heard of some time ago', () => {
  const at = (age_ms: number, freshness = 'fresh' as const) => vehicle({ freshness, position: { age_ms } })
  it('ages between messages by the screen’s own clock', () => {
    const v = at(2_000)
    expect(positionAge(v, 5_000)).toBe(7_000)
    expect(effectiveFreshness(v, 0, false)).toBe('fresh')
    expect(effectiveFreshness(v, 28_000, false)).toBe('fresh')
    expect(effectiveFreshness(v, 28_001, false)).toBe('delayed')
    expect(effectiveFreshness(v, 118_001, false)).toBe('stale')
    expect(effectiveFreshness(v, 598_001, false)).toBe('offline')
  })
  it('is never fresher than the server said', () => {
    expect(effectiveFreshness(vehicle({ freshness: 'stale', position: { age_ms: 1_000 } }), 0, false)).toBe('stale')
  })
  it('a clock that jumps back does not make a position younger', () => {
    expect(positionAge(at(4_000), -60_000)).toBe(4_000)
  })
  it('nothing is live while the screen is cut off', () => {
    expect(CUT_OFF_MS).toBe(3_000)
    expect(effectiveFreshness(at(500), 3_000, true)).toBe('delayed')
    expect(effectiveFreshness(at(500), 300_000, true)).toBe('stale')
  })
  it('no fix stays no fix while it is news, and becomes offline when it is not', () => {
    const v = vehicle({ freshness: 'no_fix', position: { age_ms: 90_000 } })
    expect(effectiveFreshness(v, 10_000, false)).toBe('no_fix')
    expect(effectiveFreshness(v, 600_001, false)).toBe('offline')
  })
  it('a bus that never reported stays "never"', () => {
    expect(effectiveFreshness(vehicle({ freshness: 'never', position: null }), 1e6, false)).toBe('never')
    expect(effectiveFreshness(vehicle({ freshness: 'fresh', position: null }), 0, false)).toBe('never')
  })
  it('no arrival forecast from an old position', () => {
    expect(['fresh', 'delayed', 'stale', 'offline', 'no_fix', 'never'].map((f) => mayShowForecast(f as never))).toEqual([true, true, false, false, false, false])
  })
})
