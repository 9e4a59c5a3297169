/* Times as people read them: in the time zone of the school, never the browser's; 24 hours. */
import { tag } from './i18n'

export let zone = 'Asia/Shanghai'
const cache = new Map<string, Intl.DateTimeFormat>()

export function setZone(name: string | null | undefined): void {
  if (!name) return
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    zone = name
  } catch {
    console.warn(`unknown time zone ${name}, keeping ${zone}`)
  }
}

function format(kind: string, options: Intl.DateTimeFormatOptions, ms: number): string {
  const key = `${kind} ${tag.value} ${zone}`
  let f = cache.get(key)
  if (!f) {
    f = new Intl.DateTimeFormat(tag.value, { hourCycle: 'h23', timeZone: zone, ...options })
    cache.set(key, f)
  }
  return f.format(ms)
}

export const hm = (ms: number) => format('hm', { hour: '2-digit', minute: '2-digit' }, ms)
export const hms = (ms: number) => format('hms', { hour: '2-digit', minute: '2-digit', second: '2-digit' }, ms)
export const day = (ms: number) => format('day', { month: '2-digit', day: '2-digit', weekday: 'short' }, ms)
export const full = (ms: number) =>
  format('full', { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit' }, ms)

/* The time of day today, with the date before it on any other day. */
export function when(ms: number, now_ms: number): string {
  const date = (x: number) => format('date', { year: 'numeric', month: '2-digit', day: '2-digit' }, x)
  return date(ms) === date(now_ms) ? hms(ms) : `${format('md', { month: '2-digit', day: '2-digit' }, ms)} ${hms(ms)}`
}

export const utc = (ms: number) => new Date(ms).toISOString().replace('T', ' ').slice(0, 19)

/* 272 s -> "4:32"; 3700 s -> "1:01:40". */
export function clock(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000))
  const two = (n: number) => String(n).padStart(2, '0')
  const h = Math.floor(s / 3600)
  return h > 0 ? `${h}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}` : `${Math.floor(s / 60)}:${two(s % 60)}`
}

/* Milliseconds until the end of today in the school's zone. */
export function endOfDay(now_ms: number): number {
  const parts = new Intl.DateTimeFormat('en-GB', {
    timeZone: zone, hourCycle: 'h23', hour: '2-digit', minute: '2-digit', second: '2-digit'
  }).formatToParts(now_ms)
  const of = (type: string) => Number(parts.find((p) => p.type === type)?.value ?? 0)
  return now_ms + (86_399 - of('hour') * 3600 - of('minute') * 60 - of('second')) * 1000
}
