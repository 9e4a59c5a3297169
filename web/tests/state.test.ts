import { describe, expect, it } from 'vitest'
import { reconnectPause } from '../src/live'
import { takeToken } from '../src/session'
import { alarmWanted } from '../src/sound'
import { clock, endOfDay, hm, when } from '../src/time'
import { readUrl, writeUrl } from '../src/urlstate'
import { NOW } from './make'

describe('the address', () => {
  it('round trip', () => {
    const text = writeUrl('', { bus: 'bus-01', finding: '00ab' })
    expect(text).toBe('?bus=bus-01&finding=00ab')
    expect(readUrl(text)).toEqual({ bus: 'bus-01', finding: '00ab', tab: null })
  })
  it('keeps what it does not know, removes what is not selected any more', () => {
    expect(writeUrl('?lang=en&bus=1', { bus: null })).toBe('?lang=en')
    expect(writeUrl('?tab=closed&bus=1', { bus: '2' })).toBe('?tab=closed&bus=2')
  })
  it('ignores empty and absurd values', () => {
    expect(readUrl(`?bus=&finding=${'x'.repeat(300)}`)).toEqual({ bus: null, finding: null, tab: null })
  })
  it('any character of an identifier survives', () => {
    expect(readUrl(writeUrl('', { bus: '桂B·1 &=#' })).bus).toBe('桂B·1 &=#')
  })
})

describe('the token in the fragment', () => {
  it('is taken out and nothing else is', () => {
    expect(takeToken('#token=a%2Bb')).toEqual({ token: 'a+b', rest: '' })
    expect(takeToken('#x=1&token=t&y')).toEqual({ token: 't', rest: '#x=1&y' })
    expect(takeToken('')).toEqual({ token: null, rest: '' })
    expect(takeToken('#token=')).toEqual({ token: null, rest: '' })
    expect(takeToken('#token=%zz').token).toBe('%zz')
  })
})

describe('reconnecting', () => {
  it('waits between 1 and 30 s, longer each time, with full jitter', () => {
    expect(reconnectPause(0, 0.99)).toBe(1000)
    expect([1, 2, 3, 4, 5, 50].map((n) => reconnectPause(n, 1))).toEqual([2000, 4000, 8000, 16000, 30000, 30000])
    expect([1, 5, 50].map((n) => reconnectPause(n, 0))).toEqual([1000, 1000, 1000])
  })
})

describe('the alarm', () => {
  const state = { enabled: true, muted_until_ms: 0, now_ms: 100, critical: 1, sos: 0 }
  it('rings for an open critical finding, not when off, not when muted', () => {
    expect(alarmWanted(state)).toBe(true)
    expect(alarmWanted({ ...state, critical: 0 })).toBe(false)
    expect(alarmWanted({ ...state, enabled: false, sos: 1 })).toBe(false)
    expect(alarmWanted({ ...state, muted_until_ms: 101 })).toBe(false)
    expect(alarmWanted({ ...state, muted_until_ms: 100 })).toBe(true)
  })
  it('muting never covers an SOS', () => expect(alarmWanted({ ...state, muted_until_ms: 1e9, sos: 1 })).toBe(true))
})

describe('time', () => {
  it('is the school’s', () => {
    expect(hm(NOW)).toBe('07:18')
    expect(when(NOW - 86_400_000, NOW)).toBe('11/22 07:18:00')
    expect(when(NOW, NOW)).toBe('07:18:00')
  })
  it('durations', () => expect([clock(272_000), clock(3_700_000), clock(-5)]).toEqual(['4:32', '1:01:40', '0:00']))
  it('the end of the day', () => expect(hm(endOfDay(NOW))).toBe('23:59'))
})
