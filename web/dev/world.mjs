/*
 * A believable small county for developing and testing the pages without the real server: forty-two buses on made-up
 * lines, some of them late, silent, overloaded. It speaks the JSON of docs/protocol.md. Nothing here is shipped.
 */
const CENTRE = [71.43, 51.135]
const PLATES = 'ABCDEFGHJKLMNPQRSTUVWXYZ'
const STOP_NAMES = [
  ['幸福路口', 'Xingfu Road'], ['河东小学', 'Hedong Primary School'], ['柳石新村', 'Liushi New Village'], ['文化广场', 'Culture Square'],
  ['龙屯路', 'Longtun Road'], ['静兰桥头', 'Jinglan Bridge'], ['三门江', 'Sanmenjiang'], ['实验学校', 'Experimental School']
]
const LINES = [['一中 1 号线', 'No. 1 School line 1'], ['一中 3 号线', 'No. 1 School line 3'], ['河东 2 号线', 'Hedong line 2'], ['实验学校 5 号线', 'Experimental School line 5'], ['三江 7 号线', 'Sanjiang line 7'], ['城北专线', 'North town line']]

const M_LAT = 1 / 111_200
const M_LON = M_LAT / Math.cos((CENTRE[1] * Math.PI) / 180)
const hex16 = (n) => n.toString(16).padStart(16, '0')

/* A line of street-like legs: straight runs with square and slanted corners. */
function makeRoute(i) {
  const turn = [[0, 1], [1, 0], [0, 1], [-1, 0.3], [0, 1], [1, 0.2], [0.2, 1], [1, 0]]
  const quarter = (i * Math.PI) / 3 + 0.2
  let p = [CENTRE[0] + Math.cos(quarter) * 1500 * M_LON, CENTRE[1] + Math.sin(quarter) * 1500 * M_LAT]
  const line = [p]
  const stops = [], segments = []
  let along = 0
  const rot = (v) => [v[0] * Math.cos(quarter) - v[1] * Math.sin(quarter), v[0] * Math.sin(quarter) + v[1] * Math.cos(quarter)]
  turn.forEach((d, k) => {
    const long = 700 + ((i * 7 + k * 13) % 5) * 160
    const [dx, dy] = rot(d)
    const n = Math.hypot(dx, dy)
    p = [p[0] + (dx / n) * long * M_LON, p[1] + (dy / n) * long * M_LAT]
    segments.push({ from_m: along, to_m: along + long, limit_kmh: k === 3 ? 20 : k % 2 ? 40 : 60, road_class: k % 2 ? 'secondary' : 'primary', hazard: k === 3 ? 'sharp_curve' : null })
    along += long
    line.push(p)
    stops.push({ id: `r${i + 1}-s${k + 1}`, name_zh: STOP_NAMES[k][0], name_en: STOP_NAMES[k][1], lat: p[1], lon: p[0], along_m: along, offset_s: 180 * (k + 1) })
  })
  return { id: `r${i + 1}`, name_zh: LINES[i][0], name_en: LINES[i][1], line, corridor_m: 50, stops, segments, length_m: along }
}

function at(route, along_m) {
  /* There and back again. */
  const lap = ((along_m % (2 * route.length_m)) + 2 * route.length_m) % (2 * route.length_m)
  const back = lap > route.length_m
  let rest = back ? 2 * route.length_m - lap : lap
  for (let i = 1; i < route.line.length; i++) {
    const a = route.line[i - 1], b = route.line[i]
    const dx = (b[0] - a[0]) / M_LON, dy = (b[1] - a[1]) / M_LAT
    const leg = Math.hypot(dx, dy)
    if (rest <= leg || i === route.line.length - 1) {
      const t = Math.min(1, rest / leg)
      return { lon: a[0] + (b[0] - a[0]) * t, lat: a[1] + (b[1] - a[1]) * t, deg: ((Math.atan2(dx, dy) * 180) / Math.PI + (back ? 540 : 360)) % 360, limit: route.segments[i - 1].limit_kmh }
    }
    rest -= leg
  }
}

const CITE = {
  ovl: [
    { code: '校车安全管理条例', article: '第三十四条', zh: '校车载人不得超过核定的人数，不得以任何理由超员。', en: 'A school bus may not carry more persons than rated, for any reason.', mark: 'primary' },
    { code: '校车安全管理条例', article: '第五十条', zh: '载运学生超过核定人数的，扣留车辆至违法状态消除，并依法从重处罚。', en: 'If it carries more pupils than rated, the vehicle is held until that has ended, and the penalty is at the heavy end.', mark: 'primary' },
    { code: '处置提示', article: '现场', zh: '就近安全地点停车，安排转运，不得将学生留在路边。', en: 'Stop at the nearest safe place and arrange a transfer; do not leave pupils at the roadside.', mark: 'advice' }
  ],
  spd: [{ code: '校车安全管理条例', article: '第三十五条', zh: '载有学生时在一般道路上最高时速不得超过 60 公里；限速标志低于此的，从其规定。', en: 'With pupils aboard no more than 60 km/h on ordinary roads; lower signs prevail.', mark: 'primary' }],
  rte: [{ code: '校车安全管理条例', article: '第三十二条', zh: '校车应当按照审核确定的线路行驶。', en: 'A school bus keeps to the approved route.', mark: 'primary' }],
  sos: [{ code: '校车安全管理条例', article: '第四十二条', zh: '发生事故或险情，照管人员应立即报警并组织疏散。', en: 'In an accident or danger the attendant calls for help and leads the pupils to safety.', mark: 'primary' }]
}

export function makeWorld(now = Date.now(), count = 42) {
  const start = now
  const routes = LINES.map((_, i) => makeRoute(i))
  const buses = Array.from({ length: count }, (_, i) => ({
    i, id: `bus-${String(i + 1).padStart(2, '0')}`,
    plate: `桂B·${PLATES[i % 24]}${String(1024 + ((i * 3571) % 8900))}`,
    route: routes[i % routes.length], offset_m: Math.floor(i / 6) * 1730 + i * 140, base_kmh: 24 + ((i * 5) % 22),
    rated: [36, 45, 56, 19][i % 4], load: 0.35 + ((i * 17) % 60) / 100
  }))
  const sick = { 4: 'stale', 5: 'offline', 6: 'no_fix', 7: 'never', 8: 'delayed', 15: 'stale', 22: 'offline' }

  const kmh = (b, ms) => {
    if (b.i === 1) return 69 + 2 * Math.sin(ms / 9000)
    const wave = b.base_kmh + 9 * Math.sin(ms / 17000 + b.i) + 4 * Math.sin(ms / 5300 + b.i * 2)
    return Math.sin(ms / 60000 + b.i * 1.7) > 0.86 ? 0 : Math.max(4, wave)
  }
  const persons = (b, ms) => {
    if (b.i === 0) return ms > start - 290_000 ? 51 : 43
    const step = Math.floor((ms - start + b.i * 40_000) / 120_000)
    return Math.max(3, Math.min(b.rated, Math.round(b.rated * b.load) + (((step % 5) + 5) % 5)))
  }
  const place = (b, ms) => {
    const p = at(b.route, b.offset_m + ((ms - start) / 1000) * (b.base_kmh / 3.6))
    return b.i === 2 ? { ...p, lon: p.lon + 260 * M_LON, lat: p.lat + 180 * M_LAT } : p
  }

  const findings = new Map()
  let serial = 1
  function addFinding(f) {
    const b = buses[f.bus]
    const at_ms = f.began_ms
    const p = place(b, at_ms)
    const full = {
      id: hex16(0x5c001000 + serial++), rule: f.rule, vehicle: b.id, plate: b.plate,
      route: { id: b.route.id, name_zh: b.route.name_zh, name_en: b.route.name_en },
      state: f.closed_ms ? 'closed' : 'open', severity: f.severity, points: f.points ?? null, criminal_lead: f.lead ?? false, late: f.late ?? false,
      title_zh: f.zh, title_en: f.en, value: f.value, limit: f.limit, unit: f.unit,
      over_pct: f.limit ? Math.round(((f.value - f.limit) / f.limit) * 1000) / 10 : null,
      began_ms: at_ms, opened_ms: at_ms + 15_000, raised_ms: f.raised_ms ?? null, closed_ms: f.closed_ms ?? null,
      lat: p.lat, lon: p.lon, pupils: Math.max(0, persons(b, at_ms) - 2), citations: f.cite,
      lead_zh: f.lead ? '人数来自车载计数器，属于线索，须现场清点核实。' : null,
      lead_en: f.lead ? 'The number comes from a counter on board: a lead, to be verified by counting on the spot.' : null,
      inputs: f.inputs ?? [
        { name: 'position', source: 'gpsd', confidence: 0.97, age_ms: 800 },
        { name: 'persons', source: 'counter:front-door', confidence: 0.93, age_ms: 2100 },
        { name: 'doors', source: 'inputs', confidence: 1, age_ms: 400 }
      ],
      law: { pack: 'cn-national', version: '2026.1' }, audience: f.audience ?? ['CAB', 'DIS', 'OFF'], ack: f.ack ?? null
    }
    findings.set(full.id, full)
    return full
  }
  const POL = ['CAB', 'DIS', 'SCH', 'OFF', 'POL']
  const min = 60_000
  addFinding({ bus: 0, rule: 'OVL-1', severity: 'critical', zh: '超员未达 20%', en: 'Overload below 20 %', value: 51, limit: 45, unit: 'persons', began_ms: now - 4.6 * min, points: 6, lead: true, audience: POL, cite: CITE.ovl, raised_ms: now - 3 * min })
  buses[0].rated = 45
  addFinding({ bus: 1, rule: 'SPD-1', severity: 'high', zh: '超速 10%–20%', en: 'Speeding, 10–20 % over', value: 70.4, limit: 60, unit: 'km/h', began_ms: now - 1.4 * min, points: 3, audience: POL, cite: CITE.spd })
  addFinding({ bus: 2, rule: 'RTE-1', severity: 'medium', zh: '偏离核准线路', en: 'Off the approved route', value: 316, limit: 50, unit: 'm', began_ms: now - 7.2 * min, cite: CITE.rte })
  addFinding({ bus: 9, rule: 'SPD-2', severity: 'high', zh: '危险路段超过 20 km/h', en: 'Over 20 km/h on a dangerous stretch', value: 34, limit: 20, unit: 'km/h', began_ms: now - 12 * min, audience: POL, cite: CITE.spd, ack: { by: '李警官', at_ms: now - 10 * min, note: '已通知中队在静兰桥头核查' } })
  addFinding({ bus: 11, rule: 'SPD-1', severity: 'low', zh: '超速 10% 以下', en: 'Speeding, less than 10 % over', value: 43, limit: 40, unit: 'km/h', began_ms: now - 21 * min, closed_ms: now - 20 * min, cite: CITE.spd, ack: { by: '值班员 02', at_ms: now - 19 * min, note: null } })
  addFinding({ bus: 12, rule: 'OVL-1', severity: 'critical', zh: '超员未达 20%', en: 'Overload below 20 %', value: 39, limit: 36, unit: 'persons', began_ms: now - 64 * min, closed_ms: now - 52 * min, points: 6, lead: true, audience: POL, cite: CITE.ovl, ack: { by: '张警官', at_ms: now - 60 * min, note: '现场清点 39 人，已转运' } })
  addFinding({ bus: 4, rule: 'SPD-1', severity: 'medium', late: true, zh: '超速 10% 以下', en: 'Speeding, less than 10 % over', value: 64.5, limit: 60, unit: 'km/h', began_ms: now - 38 * min, closed_ms: now - 36 * min, cite: CITE.spd })

  const rank = ['none', 'low', 'medium', 'high', 'critical']
  function vehicle(b, now_ms) {
    const kind = sick[b.i]
    const age = kind === 'stale' ? 240_000 + (now_ms - start) : kind === 'offline' ? 1_380_000 + (now_ms - start) : kind === 'delayed' ? 74_000 : kind === 'no_fix' ? 95_000 + (now_ms - start) : 700
    const t = now_ms - age
    const p = place(b, t)
    const open = [...findings.values()].filter((f) => f.vehicle === b.id && f.state === 'open')
    const silent = kind === 'stale' || kind === 'offline' || kind === 'never'
    const speed = kmh(b, t)
    const along = (((b.offset_m + ((t - start) / 1000) * (b.base_kmh / 3.6)) % b.route.length_m) + b.route.length_m) % b.route.length_m
    const k = b.route.stops.findIndex((s) => s.along_m > along)
    const stop = b.route.stops[Math.max(0, k)]
    const eta = now_ms + ((stop.along_m - along) / (b.base_kmh / 3.6)) * 1000
    const delay = ((b.i * 67) % 400) - 90
    return {
      id: b.id, plate: b.plate, route: b.i === 30 ? null : { id: b.route.id, name_zh: b.route.name_zh, name_en: b.route.name_en },
      freshness: kind ?? 'fresh',
      position: kind === 'never' ? null : { lat: p.lat, lon: p.lon, time_ms: t, age_ms: age, speed_mps: kind === 'no_fix' ? null : speed / 3.6, track_deg: p.deg, hdop: 0.9 + (b.i % 5) / 10, satellites: 9 + (b.i % 6), mode: kind === 'no_fix' ? 1 : 3 },
      aboard: kind === 'never' || b.i === 17 ? null : { persons: persons(b, t), pupils: persons(b, t) - 2, rated: b.rated, confidence: 0.93, sources: ['counter'], time_ms: t, age_ms: age },
      doors_open: kind === 'never' ? null : speed === 0, ignition: kind === 'never' ? null : true, sos: open.some((f) => f.rule.startsWith('SOS')),
      link: { connected: !silent, last_received_ms: kind === 'never' ? null : silent ? t : now_ms - 300 },
      limit_kmh: silent ? null : b.i === 1 ? 60 : p.limit,
      severity: open.reduce((w, f) => (rank.indexOf(f.severity) > rank.indexOf(w) ? f.severity : w), 'none'), open_findings: open.length,
      next_stop: silent || b.i === 30 ? null : { id: stop.id, name_zh: stop.name_zh, name_en: stop.name_en, eta_ms: kind === 'no_fix' ? null : Math.round(eta), planned_ms: Math.round(eta - delay * 1000), stops_to_go: b.route.stops.length - Math.max(0, k) },
      delay_s: silent ? null : delay,
      devices: kind === 'never' ? [] : [
        { name: 'gps0', kind: 'gpsd', state: kind === 'no_fix' ? 'silent' : 'ok', since_ms: start - 3_600_000 },
        { name: 'counter0', kind: 'counter', state: b.i === 17 ? 'failed' : 'ok', since_ms: start - 900_000 },
        { name: 'inputs0', kind: 'inputs', state: 'ok', since_ms: start - 3_600_000 },
        { name: 'camera0', kind: 'camera', state: b.i % 6 === 5 ? 'absent' : 'ok', since_ms: start - 3_600_000 }
      ]
    }
  }

  function track(b, from_ms, to_ms) {
    const points = [], counts = [], doors = [], limits = []
    let lastPersons = null, lastDoor = null, lastLimit
    for (let t = Math.ceil(from_ms / 1000) * 1000; t <= Math.min(to_ms, Date.now()); t += 1000) {
      /* One minute without radio cover, filled in later, as tunnels do. */
      const back = Math.floor((start - t) / 1000)
      if (b.i % 3 === 0 && back > 330 && back < 360) continue
      const p = place(b, t), v = kmh(b, t), n = persons(b, t), d = v === 0 ? 1 : 0
      points.push([t, p.lat, p.lon, v / 3.6, p.deg, 3, b.i % 3 === 0 && back >= 360 && back < 420 ? 1 : 0])
      const limit = b.i === 1 ? 60 : p.limit
      if (limit !== lastLimit) limits.push([t, (lastLimit = limit)])
      if (n !== lastPersons) counts.push([t, (lastPersons = n), 0.93])
      if (d !== lastDoor) doors.push([t, (lastDoor = d)])
    }
    return { vehicle: b.id, from_ms, to_ms, points, counts, doors, limits, truncated: false }
  }

  const pub = (r) => ({ id: r.id, name_zh: r.name_zh, name_en: r.name_en, line: r.line, corridor_m: r.corridor_m, stops: r.stops, segments: r.segments })
  function parent(state, now_ms) {
    const b = buses[3], base = {
      plate: b.plate, route: { name_zh: b.route.name_zh, name_en: b.route.name_en },
      stop: { name_zh: '幸福路口', name_en: 'Xingfu Road', planned_ms: now_ms + 5 * min }, server_time_ms: now_ms, expires_ms: now_ms + 30 * 86_400_000,
      state, stops_away: null, eta_ms: null, delay_s: null, passed_ms: null, position: null, progress: [], notices: []
    }
    const p = vehicle(b, now_ms).position
    const dots = (next) => Array.from({ length: 7 }, (_, i) => ({ mine: i === 5, state: i < next ? 'passed' : i === next ? 'next' : 'ahead' }))
    switch (state) {
      case 'coming': return { ...base, stops_away: 3, eta_ms: now_ms + 6 * min, delay_s: 60, position: { lat: p.lat, lon: p.lon, age_ms: 12_000 }, progress: dots(3) }
      case 'arriving': return { ...base, stops_away: 0, eta_ms: now_ms + 40_000, delay_s: 200, position: { lat: p.lat, lon: p.lon, age_ms: 4_000 }, progress: dots(5), notices: [{ kind: 'arriving', at_ms: now_ms - 20_000 }] }
      case 'at_stop': return { ...base, stops_away: 0, position: { lat: p.lat, lon: p.lon, age_ms: 3_000 }, progress: dots(5) }
      case 'passed': return { ...base, passed_ms: now_ms - 2 * min, position: { lat: p.lat, lon: p.lon, age_ms: 3_000 }, progress: dots(6) }
      case 'no_signal': return { ...base, progress: dots(3) }
      default: return { ...base, state: 'not_running' }
    }
  }
  return { buses, routes, findings, addFinding, vehicle, track, parent, route: pub, CITE, POL }
}
