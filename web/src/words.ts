/* Values as words: one place, so that list, card and table say the same. */
import type { Finding, Freshness, Vehicle } from './api'
import type { Family } from './findings'
import { named, locale } from './i18n'
import { t, type Key } from './i18n/console'
import { hm } from './time'

export const KMH = 3.6

export function age(ms: number): string {
  const s = Math.round(ms / 1000)
  if (s < 100) return t('sec', { n: s })
  if (s < 3600) return t('min_short', { n: Math.round(s / 60) })
  return t('hour_min', { h: Math.floor(s / 3600), m: Math.round((s % 3600) / 60) % 60 })
}

export function freshnessWords(f: Freshness, age_ms: number | null, now_ms: number): string {
  switch (f) {
    case 'fresh': return t('fresh', { age: age(age_ms ?? 0) })
    case 'delayed': return t('delayed', { age: age(age_ms ?? 0) })
    case 'stale': return t('stale', { age: age(age_ms ?? 0) })
    case 'offline': return age_ms === null ? t('offline_plain') : t('offline', { time: hm(now_ms - age_ms) })
    case 'no_fix': return t('no_fix')
    default: return t('never')
  }
}

export function speedKmh(v: Vehicle): number | null {
  const s = v.position?.speed_mps
  return s === null || s === undefined ? null : Math.round(s * KMH)
}

export function aboardWords(v: Vehicle): string {
  return v.aboard === null ? '–/–' : `${v.aboard.persons}/${v.aboard.rated}`
}

export function delayWords(delay_s: number | null): string | null {
  if (delay_s === null) return null
  const n = Math.round(Math.abs(delay_s) / 60)
  if (n < 1) return t('on_time')
  return delay_s > 0 ? t('late_by', { n }) : t('early_by', { n })
}

const number = (x: number) => (Number.isInteger(x) ? String(x) : x.toFixed(1))

export function unitWords(unit: string): string {
  return unit === 'persons' ? (locale.value === 'zh' ? '人' : 'persons') : unit
}

/* "51 / 45 人" */
export function valueWords(f: Finding): string {
  if (f.value === null) return '–'
  const value = number(Math.round(f.value * 10) / 10)
  return f.limit === null ? `${value} ${unitWords(f.unit)}` : `${value} / ${number(Math.round(f.limit * 10) / 10)} ${unitWords(f.unit)}`
}
export function overWords(f: Finding): string | null {
  return f.over_pct === null ? null : `${f.over_pct > 0 ? '+' : ''}${number(Math.round(f.over_pct * 10) / 10)}%`
}

export function severityWord(s: string): string { return t(`severity_${s}` as Key) }
export function routeName(route: Finding['route'] | Vehicle['route']): string {
  if (route === null || route === undefined) return ''
  return typeof route === 'string' ? route : named(route)
}

export { FAMILIES } from './findings'
export function familyWord(f: Family): string { return t(`family_${f}` as Key) }

/* Names of inputs, sources and device kinds as the server writes them; one this page does not know is shown as it is. */
const THINGS = new Set(['persons', 'position', 'offset', 'speed', 'sos', 'doors', 'door', 'camera', 'attendant', 'cards', 'gnss', 'counter', 'inputs', 'panel', 'store', 'replay'])
export function thing(name: string): string { return THINGS.has(name) ? t(`thing_${name}` as Key) : name }

/* "1.3 MB": decimal, one digit below ten. */
export function sizeWords(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB']
  let x = bytes, i = 0
  while (x >= 1000 && i < units.length - 1) {
    x /= 1000
    i++
  }
  return `${i > 0 && x < 10 ? x.toFixed(1) : Math.round(x)} ${units[i]}`
}

/* What gateways answer to an order (gateway/orders.c), in the reader's language; what a newer one says is shown as it is. */
const RESULTS: [RegExp, Key, string[]][] = [
  [/^(-?[\d.]+,-?[\d.]+) (\d+) s ago$/, 'result_place', ['place', 's']], [/^no fix since the start$/, 'result_no_fix', []], [/^shown$/, 'result_shown', []],
  [/^buzzer told$/, 'result_buzzer', []], [/^no buzzer answers$/, 'result_no_buzzer', []], [/^(\d+) cameras? told: the picture comes as media$/, 'result_snapshot', ['n']],
  [/^no camera that works takes pictures$/, 'result_no_camera', []], [/^(.+) is opened again$/, 'result_restarted', ['name']],
  [/^there is no device (.+)$/, 'result_no_device', ['name']], [/^came after its time$/, 'result_late', []], [/^not possible here$/, 'result_not_here', []],
  [/^not known to this version$/, 'result_unknown', []]
]
export function orderResult(message: string): string {
  for (const [pattern, key, names] of RESULTS) {
    const m = pattern.exec(message)
    if (m) return t(key, Object.fromEntries(names.map((name, i) => [name, name === 'n' ? Number(m[i + 1]) : m[i + 1]!])))
  }
  return message
}
