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
export const PARENT_TOKEN = 'dev-parent-link'

export function startServer({ port = 0, buses = 42, tiles = process.env.SCHOOLWARD_DEV_TILES } = {}) {
  const world = makeWorld(Date.now(), buses)
  const tickets = new Map()
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
      if (m[2] === '/acknowledgements') {
        let text = ''
        for await (const part of req) text += part
        f.ack ??= { by: who.name, at_ms: now, note: JSON.parse(text || '{}').note ?? null }
        tell({ type: 'finding', change: 'acknowledged', finding: f })
      }
      return json(200, f)
    }
    if (!officer) return refuse(403, 'forbidden', 'officers only', '')
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
