/*
 * The one sentence a parent came for, and the line below it. Every state has its own words; nothing is guessed: without a
 * forecast no time is named, and from an old position there is no forecast at all.
 */
import type { ParentView } from '../api'
import { t } from '../i18n/parent'
import { hm } from '../time'

export interface Wording { sentence: string; detail: string | null; tone: 'calm' | 'soon' | 'quiet' }

/* Whole minutes until `eta_ms`, rounded down like every bus stop display: rather early at the stop than late. */
export function minutesLeft(eta_ms: number, now_ms: number): number {
  return Math.max(0, Math.floor((eta_ms - now_ms) / 60_000))
}

function left(eta_ms: number | null, now_ms: number): string | null {
  if (eta_ms === null) return null
  const n = minutesLeft(eta_ms, now_ms)
  return n < 1 ? t('under_minute') : t('minutes', { n })
}

export function delayText(delay_s: number | null): string | null {
  if (delay_s === null) return null
  const n = Math.round(Math.abs(delay_s) / 60)
  if (n < 1) return t('on_time')
  return delay_s > 0 ? t('late', { n }) : t('early', { n })
}

export function wording(v: ParentView, now_ms: number): Wording {
  const planned = v.stop.planned_ms
  const timed = v.eta_ms === null ? null : hm(v.eta_ms)
  switch (v.state) {
    case 'coming': {
      const n = v.stops_away
      const sentence =
        n === null ? (timed === null ? t('no_signal') : t('next', { time: timed }))
        : n <= 1 ? (timed === null ? t('next_no_time') : t('next', { time: timed }))
        : timed === null ? t('away_no_time', { n }) : t('away', { n, time: timed })
      const parts = [left(v.eta_ms, now_ms), delayText(v.delay_s)].filter((x): x is string => x !== null)
      return { sentence, detail: parts.length > 0 ? parts.join(' · ') : null, tone: 'calm' }
    }
    case 'arriving':
      return { sentence: timed === null ? t('arriving_no_time') : t('arriving', { time: timed }), detail: left(v.eta_ms, now_ms), tone: 'soon' }
    case 'at_stop':
      return { sentence: t('at_stop'), detail: null, tone: 'soon' }
    case 'passed':
      return { sentence: v.passed_ms === null ? t('passed_no_time') : t('passed', { time: hm(v.passed_ms) }), detail: null, tone: 'quiet' }
    case 'no_signal':
      return { sentence: t('no_signal'), detail: planned === null ? t('no_signal_plain') : t('no_signal_planned', { time: hm(planned) }), tone: 'quiet' }
    default:
      return { sentence: t('not_running'), detail: planned === null ? null : t('not_running_planned', { time: hm(planned) }), tone: 'quiet' }
  }
}

/* Pause before the next question: 5 s while all is well, doubling to a minute while the server does not answer. */
export function pollPause_ms(failures: number): number {
  return failures === 0 ? 5_000 : Math.min(60_000, 5_000 * 2 ** Math.min(failures, 6))
}
