/*
 * How a bus looks on the map, drawn once per appearance and cached: colour is severity, the badge is the type of finding,
 * shape is how fresh the position is. Headings are rounded to 1/32 of a turn so that the cache stays small.
 */
import type { Freshness, Severity } from '../api'
import type { Family } from '../findings'
import { GLYPH } from '../ui/icons'

export interface Look {
  severity: Severity
  freshness: Freshness
  heading: number | null
  family: Family | null
  moving: boolean
  selected: boolean
  dark: boolean
}

export const HEADINGS = 32
export function headingStep(track_deg: number | null): number | null {
  return track_deg === null ? null : Math.round((track_deg / 360) * HEADINGS) % HEADINGS
}
export function lookKey(l: Look): string {
  return [l.severity, l.freshness, l.heading, l.family, l.moving, l.selected, l.dark].join(' ')
}

interface Paint { body: string; halo: string; ink: string; stale: string; offline: string; paper: string }
const SEVERITY_LIGHT: Record<Severity, string> = { none: '#0b5cad', low: '#0b5cad', medium: '#9a6700', high: '#b34a00', critical: '#b3142a' }
const SEVERITY_DARK: Record<Severity, string> = { none: '#5ea8f2', low: '#5ea8f2', medium: '#e0b030', high: '#ff9a52', critical: '#ff6b6b' }

function paintOf(l: Look): Paint {
  return l.dark
    ? { body: SEVERITY_DARK[l.severity], halo: '#0d1116', ink: '#0d1116', stale: '#97a1ab', offline: '#c9d1d9', paper: '#1a2027' }
    : { body: SEVERITY_LIGHT[l.severity], halo: '#ffffff', ink: '#ffffff', stale: '#6e7781', offline: '#32383f', paper: '#ffffff' }
}

export const MARK_PX = 52
/* Drawn at the screen's own resolution: a sprite that need not be scaled is ten times cheaper without a graphics card. */
const RATIO = Math.min(3, Math.max(1, Math.ceil(globalThis.devicePixelRatio ?? 1)))

export function drawBus(l: Look): HTMLCanvasElement {
  const canvas = document.createElement('canvas')
  canvas.width = canvas.height = MARK_PX * RATIO
  const c = canvas.getContext('2d')!
  c.scale(RATIO, RATIO)
  c.translate(MARK_PX / 2, MARK_PX / 2)
  const p = paintOf(l)
  const stale = l.freshness === 'stale'
  const hollow = l.freshness === 'offline' || l.freshness === 'no_fix' || l.freshness === 'never'
  const alarmed = l.severity === 'medium' || l.severity === 'high' || l.severity === 'critical'
  const colour = alarmed ? p.body : stale ? p.stale : hollow ? p.offline : p.body

  if (l.selected) disc(c, 19, undefined, l.dark ? '#ffd23f' : '#14181c', 3, p.halo)
  if (l.heading !== null && l.moving && !hollow && !stale) nose(c, l.heading, colour, p.halo, alarmed ? 5 : 0)
  if (alarmed) disc(c, l.severity === 'critical' ? 15.5 : 14.5, undefined, colour, l.severity === 'critical' ? 3 : 2, p.halo)
  if (hollow) disc(c, 10, p.paper, colour, 2.5, p.halo)
  else if (stale) disc(c, 10, alarmed ? colour : p.stale, undefined, 0, p.halo)
  else disc(c, 10, colour, undefined, 0, p.halo)
  if (stale) dashedRing(c, 12.6, p.stale, p.halo)

  const ink = hollow ? colour : p.ink
  if (l.freshness === 'no_fix' || l.freshness === 'never') text(c, '?', ink)
  else if (l.family !== null) glyph(c, l.family, ink, 0, 0, 14)
  else bus(c, ink)
  if (l.freshness === 'delayed') clockBadge(c, p)
  return canvas
}

function disc(c: CanvasRenderingContext2D, r: number, fill: string | undefined, stroke: string | undefined, width: number, halo: string): void {
  c.beginPath()
  c.arc(0, 0, r, 0, Math.PI * 2)
  c.strokeStyle = halo
  c.lineWidth = width + 3
  c.stroke()
  if (fill) {
    c.fillStyle = fill
    c.fill()
  }
  if (stroke) {
    c.strokeStyle = stroke
    c.lineWidth = width
    c.stroke()
  }
}

function nose(c: CanvasRenderingContext2D, heading: number, colour: string, halo: string, out: number): void {
  c.save()
  c.rotate((heading / HEADINGS) * Math.PI * 2)
  c.beginPath()
  c.moveTo(0, -18.5 - out)
  c.lineTo(7.5, -8.5 - out)
  c.lineTo(-7.5, -8.5 - out)
  c.closePath()
  c.lineJoin = 'round'
  c.strokeStyle = halo
  c.lineWidth = 3
  c.stroke()
  c.fillStyle = colour
  c.fill()
  c.restore()
}

function dashedRing(c: CanvasRenderingContext2D, r: number, colour: string, halo: string): void {
  c.beginPath()
  c.arc(0, 0, r, 0, Math.PI * 2)
  c.strokeStyle = halo
  c.lineWidth = 4
  c.stroke()
  c.setLineDash([4, 3])
  c.strokeStyle = colour
  c.lineWidth = 2
  c.stroke()
  c.setLineDash([])
}

function glyph(c: CanvasRenderingContext2D, family: Family, ink: string, x: number, y: number, size: number): void {
  c.save()
  c.translate(x - size / 2, y - size / 2)
  c.scale(size / 16, size / 16)
  c.fillStyle = ink
  c.fill(new Path2D(GLYPH[family]), 'evenodd')
  c.restore()
}

/* The front of a bus: a body, a windscreen, two lamps. */
function bus(c: CanvasRenderingContext2D, ink: string): void {
  c.fillStyle = ink
  c.beginPath()
  c.roundRect(-5, -5.5, 10, 9.5, 1.6)
  c.roundRect(-3.6, -4, 7.2, 4, 0.6)
  c.fill('evenodd')
  c.fillRect(-4.4, 4, 2.2, 1.8)
  c.fillRect(2.2, 4, 2.2, 1.8)
}

function text(c: CanvasRenderingContext2D, s: string, ink: string): void {
  c.fillStyle = ink
  c.font = '700 14px system-ui, sans-serif'
  c.textAlign = 'center'
  c.textBaseline = 'middle'
  c.fillText(s, 0, 0.5)
}

function clockBadge(c: CanvasRenderingContext2D, p: Paint): void {
  c.save()
  c.translate(10, 9)
  c.beginPath()
  c.arc(0, 0, 6, 0, Math.PI * 2)
  c.fillStyle = p.paper
  c.fill()
  c.strokeStyle = p.offline
  c.lineWidth = 1.6
  c.stroke()
  c.beginPath()
  c.moveTo(0, -3.4)
  c.lineTo(0, 0)
  c.lineTo(2.6, 1.4)
  c.stroke()
  c.restore()
}
