import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { bySeverityThenAge, byUrgency, deskOf, durationOf, familiesIn, familyOf, Findings, mustSound } from '../src/findings'
import { finding, NOW } from './make'

const ack = { by: '张', at_ms: NOW, note: null }
const ids = (list: { id: string }[]) => list.map((f) => f.id)

describe('findings', () => {
  it('severity first, then the one that waited longest', () => {
    const list = [finding({ id: 'new', opened_ms: 20 }), finding({ id: 'old', opened_ms: 10 }), finding({ id: 'high', severity: 'high', opened_ms: 1 })]
    expect(ids(list.sort(bySeverityThenAge))).toEqual(['old', 'new', 'high'])
  })
  it('the officer sees unfinished business first', () => {
    const list = [
      finding({ id: 'done', state: 'closed', closed_ms: NOW, ack }), finding({ id: 'unseen', state: 'closed', closed_ms: NOW, severity: 'critical' }),
      finding({ id: 'handled', ack, severity: 'critical' }), finding({ id: 'low', severity: 'low' }), finding({ id: 'crit' })
    ]
    expect(ids(list.sort(byUrgency))).toEqual(['crit', 'low', 'handled', 'unseen', 'done'])
  })
  it('one that ended unseen still waits for somebody', () => {
    expect(deskOf(finding({ state: 'closed', closed_ms: NOW }))).toBe('waiting')
    expect(deskOf(finding({ ack }))).toBe('acknowledged')
    expect(deskOf(finding({ state: 'closed', ack }))).toBe('closed')
  })
  it('only critical, open, unacknowledged news makes a sound', () => {
    expect(mustSound(finding())).toBe(true)
    for (const part of [{ severity: 'high' as const }, { state: 'closed' as const }, { ack }, { late: true }]) expect(mustSound(finding(part))).toBe(false)
  })
  it('a one-key alarm that comes late is heard while nobody has seen or released it', () => {
    expect(mustSound(finding({ rule: 'LFT-1', late: true }))).toBe(true)
    const sos = { rule: 'SOS-1', late: true }
    expect(mustSound(finding(sos))).toBe(true)
    expect(mustSound(finding({ ...sos, ack }))).toBe(false)
    expect(mustSound(finding({ ...sos, state: 'closed' }))).toBe(false)
  })
  it('an open one lasts until now, a closed one until its end', () => {
    expect(durationOf(finding({ began_ms: NOW - 5000 }), NOW)).toBe(5000)
    expect(durationOf(finding({ began_ms: NOW - 5000, closed_ms: NOW - 2000 }), NOW)).toBe(3000)
  })
  it('a newer state replaces the older one of the same finding', () => {
    const store = new Findings()
    const f = finding()
    store.merge([f])
    store.merge([{ ...f, ack }])
    expect(store.all()).toHaveLength(1)
    expect(store.get(f.id)?.ack).toEqual(ack)
  })
  it('after a cut, what ended unheard is not open any more, and an old one somebody reads stays', () => {
    const store = new Findings()
    store.merge([finding({ id: 'ended' }), finding({ id: 'still' }), finding({ id: 'read', state: 'closed', ack })])
    store.refresh([finding({ id: 'still' }), finding({ id: 'new' })])
    expect(ids(store.all()).sort()).toEqual(['new', 'read', 'still'])
  })
  it('is bounded, and never drops what is unfinished', () => {
    const store = new Findings()
    const open = finding({ opened_ms: 0 })
    store.merge([open, ...Array.from({ length: 1000 }, (_, i) => finding({ state: 'closed', ack, opened_ms: i + 1 }))])
    expect(store.all().length).toBe(401)
    expect(store.get(open.id)).toBeDefined()
    expect(Math.min(...store.all().filter((f) => f.state === 'closed').map((f) => f.opened_ms))).toBe(601)
  })
  it('a pupil left behind and fire are as urgent as SOS, before other critical ones', () => {
    const list = ['OVL-2', 'FIR-1', 'LFT-1', 'SOS-1'].map((rule, i) => finding({ id: rule, rule, opened_ms: i }))
    expect(ids(list.sort(bySeverityThenAge))).toEqual(['FIR-1', 'LFT-1', 'SOS-1', 'OVL-2'])
    expect(mustSound(finding({ rule: 'FIR-1', late: true }))).toBe(true)
  })
  it('every rule the law pack has belongs to a family with a name; lists count by it', () => {
    const pack = JSON.parse(readFileSync(new URL('../../core/law/cn-national.json', import.meta.url), 'utf8')) as { rules: { word: string }[] | Record<string, { word: string }> }
    const words = Object.values(pack.rules).map((r) => r.word)
    expect(words).toContain('LMP-1')
    expect(words.filter((w) => familyOf(w) === 'other')).toEqual([])
    expect(familiesIn(['LMP-1', 'OVL-1', 'OVL-4', 'LFT-2'].map((rule) => finding({ rule })))).toEqual([{ family: 'left', n: 1 }, { family: 'overload', n: 2 }, { family: 'lamp', n: 1 }])
  })
  it('families decide the glyph', () => {
    expect(['OVL-2', 'SPD-3', 'RTE-1', 'SOS-1', 'XYZ-9'].map(familyOf)).toEqual(['overload', 'speed', 'route', 'sos', 'other'])
  })
})
