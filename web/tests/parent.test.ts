import { afterEach, describe, expect, it } from 'vitest'
import { locale } from '../src/i18n'
import { delayText, minutesLeft, pollPause_ms, wording } from '../src/parent/wording'
import { setZone } from '../src/time'
import { NOW, parentView } from './make'

afterEach(() => {
  locale.value = 'zh'
  setZone('Asia/Shanghai')
})
const both = (v: Parameters<typeof wording>[0]) => {
  locale.value = 'zh'
  const zh = wording(v, NOW)
  locale.value = 'en'
  return [zh, wording(v, NOW)] as const
}

describe('the sentence a parent reads first', () => {
  it('three stops away', () => {
    const [zh, en] = both(parentView())
    expect(zh).toEqual({ sentence: '还有 3 站，约 07:24 到', detail: '大约 6 分钟后', tone: 'calm' })
    expect(en.sentence).toBe('3 stops away, about 07:24')
    expect(en.detail).toBe('in about 6 minutes')
  })
  it('one stop away is the next stop', () => {
    const [zh, en] = both(parentView({ stops_away: 1, eta_ms: NOW + 90_000 }))
    expect([zh.sentence, en.sentence]).toEqual(['下一站就到，约 07:19', 'Your stop is next, about 07:19'])
    expect(en.detail).toBe('in about 1 minute')
  })
  it('names no time it does not know', () => {
    const [zh, en] = both(parentView({ eta_ms: null }))
    expect([zh.sentence, en.sentence, en.detail]).toEqual(['还有 3 站到达', '3 stops away', null])
  })
  it('uses the school’s clock, not the reader’s', () => {
    setZone('America/New_York')
    expect(wording(parentView(), NOW).sentence).toBe('还有 3 站，约 18:24 到')
    setZone('Not/AZone')
    expect(wording(parentView(), NOW).sentence).toBe('还有 3 站，约 18:24 到')
  })
  it('arriving, at the stop, passed', () => {
    const arriving = both(parentView({ state: 'arriving', stops_away: 0, eta_ms: NOW + 40_000 }))
    expect(arriving[0].sentence).toBe('校车即将到站，约 07:18 到')
    expect([arriving[1].sentence, arriving[1].detail]).toEqual(['The bus is arriving, about 07:18', 'in less than a minute'])
    expect(both(parentView({ state: 'at_stop' }))[1].sentence).toBe('The bus is at your stop')
    expect(both(parentView({ state: 'passed', passed_ms: NOW - 60_000 })).map((w) => w.sentence)).toEqual(['校车已于 07:17 驶过本站', 'The bus passed your stop at 07:17'])
  })
  it('without a signal it says when to be there, and forecasts nothing', () => {
    const [zh, en] = both(parentView({ state: 'no_signal', eta_ms: NOW + 60_000, stops_away: 2, position: null }))
    expect([zh.sentence, zh.detail]).toEqual(['暂时看不到校车位置', '请按计划时间 07:23 到站等候'])
    expect(en.detail).toBe('Please be at the stop at the planned time, 07:23')
    expect(both(parentView({ state: 'no_signal', stop: { ...parentView().stop, planned_ms: null } }))[1].detail).toBe('Please be at the stop at the time the school told you')
  })
  it('not running', () => {
    expect(both(parentView({ state: 'not_running' })).map((w) => w.detail)).toEqual(['下一班计划 07:23 到站', 'Next planned arrival 07:23'])
  })
})

describe('minutes and delay', () => {
  it('minutes are rounded down', () => expect([minutesLeft(NOW + 119_999, NOW), minutesLeft(NOW - 5000, NOW)]).toEqual([1, 0]))
  it('early is flagged, because a child can miss the bus', () => {
    locale.value = 'en'
    expect([delayText(null), delayText(10), delayText(61), delayText(-240)]).toEqual([null, 'on time', '1 minute later than planned', '4 minutes early, please come sooner'])
  })
  it('asks every 5 s, and less often while nobody answers', () => {
    expect([0, 1, 2, 3, 4, 9].map(pollPause_ms)).toEqual([5000, 10000, 20000, 40000, 60000, 60000])
  })
})
