/*
 * The stand-in server for developing and testing the pages: the contract of docs/protocol.md on made-up buses.
 *
 *   node dev/server.mjs [port]        serves dist/ (run `npm run build` first); prints its URL when ready
 *   SCHOOLWARD_DEV_TILES=DIR          vector tiles DIR/{z}/{x}/{y}.pbf (gzip), as `ogr2ogr -f MVT` writes them
 *
 * Extra doors for tests: POST /dev/silence?ms=, /dev/finding?rule=SOS-1, /dev/parent?state=passed
 */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { WebSocketServer } from 'ws'
import { makeWorld } from './world.mjs'

const DIST = fileURLToPath(new URL('../dist', import.meta.url))
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.json': 'application/json' }
export const CSP = "default-src 'self'; img-src 'self' data: blob:; connect-src 'self' ws: wss:; style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
export const ACCOUNTS = [
  { name: '值班员 01', role: 'officer', token: 'dev-officer' },
  { name: '张警官', role: 'police', token: 'dev-police' },
  { name: '管理员', role: 'admin', token: 'dev-admin' }
]
/* A face made of three shapes, 64 by 48. */
const JPEG = Buffer.from('/9j/4AAQSkZJRgABAQAAAQABAAD/4gHYSUNDX1BST0ZJTEUAAQEAAAHIAAAAAAQwAABtbnRyUkdCIFhZWiAH4AABAAEAAAAAAABhY3NwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQAA9tYAAQAAAADTLQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAlkZXNjAAAA8AAAACRyWFlaAAABFAAAABRnWFlaAAABKAAAABRiWFlaAAABPAAAABR3dHB0AAABUAAAABRyVFJDAAABZAAAAChnVFJDAAABZAAAAChiVFJDAAABZAAAAChjcHJ0AAABjAAAADxtbHVjAAAAAAAAAAEAAAAMZW5VUwAAAAgAAAAcAHMAUgBHAEJYWVogAAAAAAAAb6IAADj1AAADkFhZWiAAAAAAAABimQAAt4UAABjaWFlaIAAAAAAAACSgAAAPhAAAts9YWVogAAAAAAAA9tYAAQAAAADTLXBhcmEAAAAAAAQAAAACZmYAAPKnAAANWQAAE9AAAApbAAAAAAAAAABtbHVjAAAAAAAAAAEAAAAMZW5VUwAAACAAAAAcAEcAbwBvAGcAbABlACAASQBuAGMALgAgADIAMAAxADb/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1RV19iZ2hnPk1xeXBkeFxlZ2P/2wBDARESEhgVGC8aGi9jQjhCY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2P/wAARCAAwAEADASIAAhEBAxEB/8QAGgABAAIDAQAAAAAAAAAAAAAAAAUGAQIEA//EACQQAAICAQEJAQEAAAAAAAAAAAABAgMRBAUSFSFBUWOi4THB/8QAGAEBAQEBAQAAAAAAAAAAAAAAAAIDAQT/xAAZEQADAQEBAAAAAAAAAAAAAAAAAhEBAzH/2gAMAwEAAhEDEQA/AOEAG5kAZSbaSWWyRp2XmKd02m+kehLNi+lKut4RoJK7ZeIt0zba6S6kc002msNBWxvAy6vpgAFEnFxDxe3wcQ8Xt8OIEXSoT2w71qdduuGN2Dkueey/pYSk7O1b0WshdjMVyku6LlTdXqKlZVNTg/xo8/W2m/OSHoV7bl602u3VDO9BSfPHdfwnbrq9PU7LZqEF+tlN2jq3rdZO7GIvlFdkOVtHSSHpxDxe3wcQ8Xt8OIHoumEAAOHQb122VPNVk4PvGTRoADey2y15tsnN95SbNAAAAAD/2Q==', 'base64')
const SHA = 'ab'.repeat(32)
export const PARENT_TOKEN = 'dev-parent-link'

export function startServer({ port = 0, buses = 42, tiles = process.env.SCHOOLWARD_DEV_TILES } = {}) {
  const world = makeWorld(Date.now(), buses)
  const tickets = new Map()
  const orders = new Map()
  let parentState = 'coming', silentUntil = 0

  const server = createServer(async (req, res) => {
    const url = new URL(req.url, 'http://x')
    const json = (status, body) => {
      res.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8', 'Cache-Control': 'no-store' })
      res.end(JSON.stringify(body))
    }
    const refuse = (status, code, message, hint) => json(status, { error: { code, message, hint } })
    const p = url.pathname
    if (p.startsWith('/dev/')) return dev(p, url, json)
    if (p.startsWith('/tiles/')) return tile(p, res)
    if (!p.startsWith('/api/v1/')) return statics(p, req, res)
    if (Date.now() < silentUntil) return req.socket.destroy()

    const bearer = (req.headers.authorization ?? '').replace(/^Bearer /, '')
    const who = ACCOUNTS.find((a) => a.token === bearer)
    const parent = bearer === PARENT_TOKEN
    if (!who && !parent) return refuse(401, 'unauthorised', 'unknown or expired token', 'ask for a new one')
    const path = p.slice('/api/v1'.length), now = Date.now()
    const officer = who && who.role !== 'police'
    const may = (f) => officer || f.audience.includes('POL')
    if (path === '/maps') return json(200, { maps: mapSets(tiles) })
    if (path === '/parent') return parent ? json(200, world.parent(parentState, now)) : refuse(403, 'forbidden', 'a parent link is needed', '')
    if (!who) return refuse(403, 'forbidden', 'a parent link opens the parent page only', '')
    if (path === '/session') return json(200, { name: who.name, role: who.role, server_time_ms: now, version: 'dev', time_zone: 'Asia/Shanghai' })
    if (path === '/live-tickets') {
      const ticket = Math.random().toString(36).slice(2)
      tickets.set(ticket, who)
      return json(200, { ticket, expires_ms: now + 30_000 })
    }
    let m
    if (path === '/findings') {
      let list = [...world.findings.values()].filter(may)
      for (const key of ['state', 'severity', 'vehicle', 'rule']) if (url.searchParams.has(key)) list = list.filter((f) => f[key] === url.searchParams.get(key))
      list.sort((a, b) => b.opened_ms - a.opened_ms)
      return json(200, { findings: list.slice(0, Number(url.searchParams.get('limit') ?? 100)), next_cursor: null })
    }
    if ((m = /^\/findings\/([0-9a-f]{16})(\/\w+)?$/.exec(path))) {
      const f = world.findings.get(m[1])
      if (!f || !may(f)) return refuse(404, 'not_found', 'no such finding', '')
      if (m[2] === '/evidence') return json(200, world.track(world.buses.find((b) => b.id === f.vehicle), f.began_ms - 60_000, (f.closed_ms ?? now) + 60_000))
      if (m[2] === '/media') {
        const one = { sha256: SHA, time_ms: f.began_ms + 4000, unit: 'dsm', unit_zh: '驾驶员状态监测', unit_en: 'driver monitoring', type: 'picture', alarm_id: 7, bytes: JPEG.length }
        return json(200, { media: f.rule.startsWith('OVL') ? [one, { ...one, sha256: 'cd'.repeat(32), time_ms: one.time_ms + 30_000 }] : [] })
      }
      if (m[2] === '/acknowledgements') {
        let text = ''
        for await (const part of req) text += part
        f.ack ??= { by: who.name, at_ms: now, note: JSON.parse(text || '{}').note ?? null }
        tell({ type: 'finding', change: 'acknowledged', finding: f })
      }
      return json(200, f)
    }
    if (/^\/media\/[0-9a-f]{64}$/.test(path)) return res.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Cache-Control': 'no-store' }).end(JPEG)
    if (!officer) return refuse(403, 'forbidden', 'officers only', '')
    if (path === '/gateways') return json(200, { server_time_ms: now, gateways: world.buses.map((b) => gateway(b, now)) })
    if ((m = /^\/gateways\/gw-([\w-]+)$/.exec(path))) {
      const b = world.buses.find((x) => x.id === m[1])
      return b ? json(200, gateway(b, now)) : refuse(404, 'not_found', 'no such gateway', '')
    }
    if ((m = /^\/vehicles\/([\w-]+)\/orders$/.exec(path))) {
      const list = orders.get(m[1]) ?? []
      orders.set(m[1], list)
      if (req.method === 'POST') {
        let text = ''
        for await (const part of req) text += part
        const o = JSON.parse(text)
        list.unshift({ id: String(now), kind: o.kind, text: o.text ?? null, number: o.number ?? null, version: null, by: who.name, state: 'waiting', result: null, created_ms: now, expires_ms: now + 600_000, answered_ms: null })
        return json(200, list[0])
      }
      const said = { locate: '24.312000,109.410000 1 s ago', text: 'shown', buzzer: 'buzzer told', snapshot: '1 camera told: the picture comes as media', restart_device: 'counter0 is opened again' }
      for (const o of list) if (o.state === 'waiting' && now - o.created_ms > 800) Object.assign(o, { state: 'done', result: said[o.kind], answered_ms: o.created_ms + 800 })
      return json(200, { orders: list })
    }
    if (path === '/vehicles') return json(200, { server_time_ms: now, vehicles: world.buses.map((b) => world.vehicle(b, now)) })
    if (path === '/routes') return json(200, { routes: world.routes.map(world.route) })
    if ((m = /^\/routes\/([\w-]+)$/.exec(path))) {
      const r = world.routes.find((x) => x.id === m[1])
      return r ? json(200, world.route(r)) : refuse(404, 'not_found', 'no such route', '')
    }
    if ((m = /^\/vehicles\/([\w-]+)(\/track)?$/.exec(path))) {
      const b = world.buses.find((x) => x.id === m[1])
      if (!b) return refuse(404, 'not_found', 'no such vehicle', '')
      return json(200, m[2] ? world.track(b, Number(url.searchParams.get('from_ms')), Number(url.searchParams.get('to_ms'))) : world.vehicle(b, now))
    }
    if (path === '/parent-links' && req.method === 'POST') {
      let text = ''
      for await (const part of req) text += part
      return json(201, { url: `http://${req.headers.host}/parent/#${PARENT_TOKEN}`, expires_ms: JSON.parse(text).valid_until_ms ?? now + 86_400_000 })
    }
    refuse(404, 'not_found', 'no such path', '')
  })

  const sockets = new WebSocketServer({ noServer: true, handleProtocols: (set) => (set.has('schoolward.live.v1') ? 'schoolward.live.v1' : false) })
  const tell = (message) => {
    for (const s of sockets.clients) if (message.type !== 'finding' || s.who.role !== 'police' || message.finding.audience.includes('POL')) s.send(JSON.stringify(message))
  }
  server.on('upgrade', (req, socket, head) => {
    const ticket = new URL(req.url, 'http://x').searchParams.get('ticket')
    const who = tickets.get(ticket)
    tickets.delete(ticket)
    if (!who || Date.now() < silentUntil) return socket.destroy()
    sockets.handleUpgrade(req, socket, head, (s) => {
      s.who = who
      s.send(JSON.stringify({ type: 'hello', server_time_ms: Date.now(), role: who.role }))
      beat(s)
    })
  })
  const beat = (s) => {
    const now = Date.now()
    const vehicles = s.who.role === 'police' ? [] : world.buses.filter((b) => s.begun !== true || ![4, 5, 7, 15, 22].includes(b.i)).map((b) => world.vehicle(b, now))
    s.begun = true
    s.send(JSON.stringify({ type: 'positions', server_time_ms: now, vehicles }))
  }
  const timer = setInterval(() => {
    if (Date.now() < silentUntil) return
    for (const s of sockets.clients) beat(s)
  }, 1000)

  function dev(p, url, json) {
    if (p === '/dev/silence') {
      silentUntil = Date.now() + Number(url.searchParams.get('ms') ?? 5000)
      for (const s of sockets.clients) s.terminate()
    } else if (p === '/dev/parent') parentState = url.searchParams.get('state')
    else if (p === '/dev/finding') {
      const rule = url.searchParams.get('rule') ?? 'SOS-1'
      const f = world.addFinding({ bus: Number(url.searchParams.get('bus') ?? 20), rule, severity: url.searchParams.get('severity') ?? 'critical', zh: '一键报警', en: 'SOS button pressed', value: null, limit: null, unit: '', began_ms: Date.now() - 16_000, audience: world.POL, cite: world.CITE.sos })
      tell({ type: 'finding', change: 'opened', finding: f })
      return json(200, f)
    }
    json(200, {})
  }

  function tile(p, res) {
    const m = /^\/tiles\/[\w-]+\/(\d+)\/(\d+)\/(\d+)$/.exec(p)
    const file = m && tiles ? join(tiles, m[1], m[2], `${m[3]}.pbf`) : null
    if (!file || !existsSync(file)) return res.writeHead(204).end()
    res.writeHead(200, { 'Content-Type': 'application/vnd.mapbox-vector-tile', 'Content-Encoding': 'gzip' })
    res.end(readFileSync(file))
  }

  return new Promise((resolve) => server.listen(port, '127.0.0.1', () => {
    resolve({
      url: `http://127.0.0.1:${server.address().port}`,
      stop: () => {
        clearInterval(timer)
        for (const s of sockets.clients) s.terminate()
        server.closeAllConnections()
        return new Promise((done) => server.close(done))
      }
    })
  }))
}

function gateway(b, now) {
  /* Every fifth one has not told for a day. */
  const report_ms = now - (b.i % 5 === 4 ? 86_400_000 : 70_000)
  return {
    id: `gw-${b.id}`, vehicle: b.id, state: 'enrolled', connected: true, own_secret: true, rotating: false, code_expires_ms: null, enrolled_ms: now - 9e9, seen_ms: now, serial: null, firmware: '0.1.0',
    bundles: ['config', 'duty', 'law'].map((kind) => ({ kind, wanted: 4, confirmed: 4 })), orders_waiting: 0, report_ms,
    report: {
      time_ms: report_ms, clock: 'gnss', clock_offset_ms: 12, uptime_s: 18_400, boots: 12, starts: 14, safe_mode: b.i === 9, firmware: '0.1.0', duty: '64aaadd66d8d535e', law: 'cn-national 2026.11', config: 'kept',
      config_version: 4, duty_version: 4, law_version: 4, connected: true, connects: 3, ack_ms: 45, disk_free: 21e9, disk_size: 30e9, board_mc: 48_500, supply_mv: 26_900, rss_bytes: 7e6, waiting_bulk: 3, waiting_urgent: 0,
      outbox_bytes: 1_240_000, written_per_day: 9e6, lost: 0, given_up: 0, bad: 0, devices: []
    }
  }
}

function mapSets(tiles) {
  if (!tiles) return []
  const meta = JSON.parse(readFileSync(join(tiles, 'metadata.json'), 'utf8'))
  return [{ set: 'astana', name_zh: '阿斯塔纳', name_en: 'Astana', min_zoom: meta.minzoom, max_zoom: meta.maxzoom, bounds: meta.bounds.split(',').map(Number), attribution: '© OpenStreetMap contributors', crs: 'wgs84' }]
}

function statics(p, req, res) {
  let file = normalize(join(DIST, decodeURIComponent(p)))
  if (!file.startsWith(DIST)) return res.writeHead(404).end()
  if (existsSync(file) && statSync(file).isDirectory()) {
    if (!p.endsWith('/')) return res.writeHead(308, { Location: `${p}/${new URL(req.url, 'http://x').search}` }).end()
    file = join(file, 'index.html')
  }
  if (!existsSync(file)) return res.writeHead(404).end()
  const headers = { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream', 'Content-Security-Policy': CSP }
  if (/gzip/.test(req.headers['accept-encoding'] ?? '') && existsSync(`${file}.gz`)) {
    headers['Content-Encoding'] = 'gzip'
    file += '.gz'
  }
  res.writeHead(200, headers).end(readFileSync(file))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const s = await startServer({ port: Number(process.argv[2] ?? 8099) })
  console.log(`ready ${s.url}`)
  for (const a of ACCOUNTS) console.log(`${a.role.padEnd(8)} ${s.url}/${a.role === 'police' ? 'police' : 'officer'}/#token=${a.token}`)
  console.log(`parent   ${s.url}/parent/#${PARENT_TOKEN}`)
}
