/* What people do with the pages, in a real browser: against the running demo, or the stand-in server. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { axe, DESK, openBrowser, openPage, openServer, PHONE, settled, until } from './lib.mjs'

let browser, server
before(async () => {
  server = await openServer()
  browser = await openBrowser()
})
after(async () => {
  await browser?.close()
  await server?.stop()
})
const officer = (options) => openPage(browser, `${server.url}/officer/#token=${server.officer}`, options)
const police = (options) => openPage(browser, `${server.url}/police/#token=${server.police}`, options)
const done = async (page, allowed = /^$/) => {
  assert.deepEqual(page.complaints.filter((c) => !allowed.test(c)), [], 'the browser complained')
  await page.context().close()
}
const NETWORK = /Failed to load resource|WebSocket connection|net::ERR/

/* A live socket whose messages can be held back, as a network that died silently does. */
async function mutable(page) {
  const state = { muted: false }
  await page.routeWebSocket(/\/api\/v1\/live/, (ws) => {
    if (state.muted) return ws.close()
    const upstream = ws.connectToServer()
    ws.onMessage((m) => upstream.send(m))
    upstream.onMessage((m) => {
      if (!state.muted) ws.send(m)
    })
    state.cut = () => ws.close()
  })
  return state
}

describe('signing in', () => {
  it('a wrong token is refused in words, a right one opens the choice of pages', async () => {
    const page = await openPage(browser, `${server.url}/`)
    await page.locator('button[type=submit]').click()
    assert.match(await page.locator('#token-error').innerText(), /请先输入/)
    await page.locator('#token').fill('wrong')
    await page.locator('button[type=submit]').click()
    await page.getByText('令牌无效').waitFor()
    await page.locator('#token').fill(server.officer)
    await page.locator('button[type=submit]').click()
    await page.locator('.doors a').first().click()
    await page.locator('.bus-row').first().waitFor()
    await done(page, NETWORK)
  })
  it('the token leaves the address bar at once and survives a reload', async () => {
    const page = await officer()
    await page.locator('.bus-row').first().waitFor()
    assert.equal(new URL(page.url()).hash, '')
    assert.ok(!page.url().includes(server.officer))
    await page.reload()
    await page.locator('.bus-row').first().waitFor()
    await done(page)
  })
  it('the police may not see the officers’ page and are shown the way', async () => {
    const page = await openPage(browser, `${server.url}/officer/#token=${server.police}`)
    await page.getByText('没有查看本页的权限').waitFor()
    assert.equal(await page.locator('.gate a.primary').getAttribute('href'), '/police/')
    await done(page, NETWORK)
  })
})

describe('the officer', () => {
  it('sees every bus with plate, load and age; positions move', async () => {
    const page = await officer()
    await page.locator('.bus-row').first().waitFor()
    const total = await page.evaluate(async (token) => (await (await fetch('/api/v1/vehicles', { headers: { Authorization: `Bearer ${token}` } })).json()).vehicles.length, server.officer)
    const shown = await page.locator('.bus-row').count()
    if (total <= 200) assert.equal(shown, total)
    else assert.ok(shown < 60, 'a long list is not in the document as a whole')
    const row = page.locator('.bus-row.f-fresh').first()
    assert.match(await row.locator('.bus-age').innerText(), /\d+ 秒前/)
    assert.match(await row.locator('.bus-load').innerText(), /(\d+|–)\/(\d+|–)/)
    const speeds = () => page.locator('.bus-speed').allInnerTexts().then((t) => t.join())
    const first = await speeds()
    await until('speeds change', async () => (await speeds()) !== first)
    await done(page)
  })
  it('searches by /, filters, and clears', async () => {
    const page = await officer()
    await page.locator('.bus-row').first().waitFor()
    const all = await page.locator('.bus-row').count()
    const plate = await page.locator('.bus-plate').nth(2).evaluate((e) => e.firstChild.textContent)
    await page.keyboard.press('/')
    await page.keyboard.type(plate.replace('·', '').toLowerCase())
    await until('one bus left', async () => (await page.locator('.bus-row').count()) === 1)
    await page.locator('input[type=search]').fill('no such bus anywhere')
    await page.getByText('没有符合条件的车辆').waitFor()
    await page.locator('.list .link').click()
    await until('all back', async () => (await page.locator('.bus-row').count()) === all)
    await done(page)
  })
  it('opens a bus: card, route and curves; the address leads a colleague to it', async () => {
    const page = await officer()
    const row = page.locator('.bus-row').first()
    await row.waitFor()
    const plate = await row.locator('.bus-plate').evaluate((e) => e.firstChild.textContent)
    await row.click()
    await page.locator('.drawer .uplot canvas').nth(1).waitFor()
    assert.equal(await page.locator('.drawer h2').innerText(), plate)
    const id = new URL(page.url()).searchParams.get('bus')
    assert.ok(id)
    await page.reload()
    await page.locator('.drawer h2').waitFor()
    assert.equal(await page.locator('.drawer h2').innerText(), plate)
    await page.keyboard.press('Escape')
    await until('closed', async () => (await page.locator('.drawer').count()) === 0)
    assert.equal(new URL(page.url()).searchParams.get('bus'), null)
    await page.goto(`${server.url}/officer/?bus=no-such-bus`)
    await page.getByText('找不到车辆').waitFor()
    await done(page)
  })
  it('walks the alarms by key; keys can be turned off', async () => {
    const page = await officer()
    await page.locator('.alarm-table tbody tr').first().waitFor()
    await page.keyboard.press('j')
    const first = await until('a finding is chosen', () => new URL(page.url()).searchParams.get('finding'))
    await page.locator('.drawer .citation, .drawer .dim').first().waitFor()
    await page.keyboard.press('j')
    if ((await page.locator('.alarm-table tbody tr').count()) > 1) await until('the next one', () => new URL(page.url()).searchParams.get('finding') !== first)
    await page.keyboard.press('?')
    await page.locator('.dialog input[type=checkbox]').uncheck()
    await page.locator('.dialog .icon-button').click()
    const before = page.url()
    await page.keyboard.press('k')
    await page.waitForTimeout(300)
    assert.equal(page.url(), before)
    await done(page)
  })
  it('orders a bus to say where it is, and reads the answer', async (t) => {
    const page = await officer()
    await page.locator('.bus-row.f-fresh').first().waitFor()
    /* A bus whose gateway told of its devices carries orders out; the demo's light ones do not. */
    const bus = await page.evaluate(async (token) => {
      const get = async (path) => (await fetch(`/api/v1${path}`, { headers: { Authorization: `Bearer ${token}` } })).json()
      const told = (await get('/gateways')).gateways.filter((g) => g.report !== null && g.connected).map((g) => g.vehicle)
      return (await get('/vehicles')).vehicles.find((v) => told.includes(v.id) && v.link.connected && v.position !== null)?.id
    }, server.officer)
    if (!bus) return t.skip('no bus here carries out orders')
    await page.goto(`${server.url}/officer/?bus=${bus}`)
    const before = await page.locator('.order-list li').count().catch(() => 0)
    await page.locator('[data-order=locate]').click()
    await until('the order is listed', async () => (await page.locator('.order-list li').count()) > before)
    await page.locator('.order-list li').first().and(page.locator('[data-state=done], [data-state=failed]')).waitFor({ timeout: 20_000 })
    assert.match(await page.locator('.order-list li').first().innerText(), /立即定位[\s\S]*(位于 [\d.]+,[\d.]+|没有定位)[\s\S]*答复/)
    /* A text asks once more before it goes. */
    await page.locator('[data-order=text]').click()
    const submit = page.locator('.order-form button[type=submit]')
    await page.locator('.order-form textarea').fill('长'.repeat(201))
    assert.ok(await submit.isDisabled())
    await page.locator('.order-form textarea').fill('前方封路')
    await submit.click()
    await page.locator('.order-form [role=status]').waitFor()
    assert.ok(!(await page.locator('.order-list').innerText()).includes('前方封路'), 'nothing goes out before it is confirmed')
    await submit.click()
    await page.locator('.order-list li', { hasText: '前方封路' }).first().and(page.locator('[data-state=done]')).waitFor({ timeout: 20_000 })
    await page.locator('.report summary').click()
    await page.locator('.report dl').waitFor()
    assert.ok((await page.evaluate(() => document.documentElement.scrollHeight - innerHeight)) <= 0, 'the page itself does not scroll')
    assert.deepEqual(await axe(page), [])
    await done(page)
  })
  it('sees what a camera took around a finding', async (t) => {
    const page = await officer()
    await page.locator('.bus-row').first().waitFor()
    const seek = () => page.evaluate(async (token) => {
      const get = async (path) => (await fetch(`/api/v1${path}`, { headers: { Authorization: `Bearer ${token}` } })).json()
      for (const f of (await get('/findings?limit=200')).findings) if ((await get(`/findings/${f.id}/media`)).media?.some((m) => m.type === 'picture')) return f.id
      return null
    }, server.officer)
    /* The demo's camera takes its first picture some 75 s after the start, in the time of a finding or not. */
    const id = await until('a finding has a picture', seek, server.real ? 100_000 : 5_000).catch(() => null)
    if (!id && server.real) return t.skip('no finding of this demo has a picture')
    await page.goto(`${server.url}/officer/?finding=${id}`)
    const thumb = page.locator('button.thumb img').first()
    await thumb.waitFor()
    await until('it is drawn', () => thumb.evaluate((e) => e.complete && e.naturalWidth > 0))
    const url = await thumb.getAttribute('src')
    assert.match(url, /^blob:/)
    await page.locator('button.thumb').first().click()
    await page.locator('dialog.picture img').waitFor()
    assert.deepEqual(await axe(page), [])
    await page.keyboard.press('Escape')
    await page.locator('dialog.picture').waitFor({ state: 'detached' })
    assert.equal(await page.locator('.drawer .pictures').count(), 1, 'Escape closes what lies on top, no more')
    await page.keyboard.press('Escape')
    await page.locator('.drawer .pictures').waitFor({ state: 'detached' })
    assert.equal(await page.evaluate((u) => new Promise((tell) => Object.assign(new Image(), { onload: () => tell('there'), onerror: () => tell('gone'), src: u })), url), 'gone')
    await done(page, NETWORK)
  })
  it('makes a parent link that opens', async () => {
    const page = await officer()
    const rows = page.locator('.bus-row.f-fresh')
    await rows.first().waitFor()
    await rows.first().click()
    await page.locator('.drawer .actions .button').nth(1).click()
    await page.locator('#pl-stop').waitFor()
    await page.locator('.dialog button[type=submit]').click()
    const url = await page.locator('#made-link').inputValue()
    assert.match(url, /\/parent\/#./)
    const parent = await openPage(browser, url)
    await parent.locator('.p-sentence').waitFor()
    await parent.locator('.p-plate').waitFor()
    await done(parent)
    await done(page)
  })
  it('is told within five seconds that nothing is heard, and recovers by itself', async () => {
    let wire
    const page = await officer({ before: async (p) => (wire = await mutable(p)) })
    await page.locator('.bus-row.f-fresh').first().waitFor()
    await until('messages flow', () => wire.cut)
    wire.muted = true
    const at = Date.now()
    await page.locator('.bar-lost').waitFor({ timeout: 5500 })
    const took = Date.now() - at
    assert.ok(took > 2000, `too early: ${took} ms`)
    assert.match(await page.locator('.bar-lost').innerText(), /中断 [3-6] 秒/)
    await until('no bus is shown as live', async () => (await page.locator('.bus-row.f-fresh').count()) === 0)
    wire.muted = false
    wire.cut()
    await page.locator('.bar-lost').waitFor({ state: 'detached', timeout: 20_000 })
    await page.locator('.bus-row.f-fresh').first().waitFor()
    console.log(`# connection loss shown after ${took} ms`)
    await done(page, NETWORK)
  })
  it('changes language and theme, and keeps them', async () => {
    const page = await officer()
    await page.locator('.bus-row').first().waitFor()
    await page.getByRole('button', { name: 'English' }).click()
    await page.getByText('Alarms', { exact: false }).first().waitFor()
    assert.equal(await page.evaluate(() => document.documentElement.lang), 'en')
    await page.getByRole('button', { name: 'Dark' }).click()
    await page.reload()
    await page.locator('.bus-row').first().waitFor()
    assert.equal(await page.evaluate(() => document.documentElement.lang + document.documentElement.dataset.theme), 'endark')
    assert.ok(!/[\u3400-\u9fff]/.test(await page.locator('.top .counts').innerText()))
    await done(page)
  })
  it('on a phone, list, map and alarms take turns', async () => {
    const page = await officer({ size: PHONE })
    await page.locator('.bus-row').first().waitFor()
    assert.ok(!(await page.locator('.map-canvas').isVisible()))
    await page.locator('.panes button').nth(1).click()
    assert.ok(await page.locator('.map-canvas').isVisible())
    assert.ok(!(await page.locator('.list').isVisible()))
    await page.locator('.panes button').nth(2).click()
    assert.ok(await page.locator('.dock').isVisible())
    const wide = await page.evaluate(() => document.documentElement.scrollWidth)
    assert.ok(wide <= PHONE.width, `the page is ${wide} px wide`)
    await done(page)
  })
})

describe('the police', () => {
  it('acknowledge a finding with a note, kept with who and when', async () => {
    const page = await police()
    const row = page.locator('.queue-row').first()
    await row.waitFor()
    await page.locator('.detail .citation').first().waitFor()
    await page.locator('.detail-time .uplot canvas').first().waitFor()
    const id = new URL(page.url()).searchParams.get('finding')
    await page.locator('.ack-form textarea').fill('已通知路面中队')
    await page.locator('.ack-form button').click()
    await page.locator('.ack-form').waitFor({ state: 'detached' })
    assert.match(await page.locator('.record').innerText(), /签收[\s\S]*已通知路面中队/)
    await page.locator('.tabs button').nth(1).click()
    await page.locator('.queue-row').first().waitFor()
    const kept = await page.evaluate(async ([token, f]) => (await (await fetch(`/api/v1/findings/${f}`, { headers: { Authorization: `Bearer ${token}` } })).json()).ack, [server.police, id])
    assert.equal(kept.note, '已通知路面中队')
    assert.ok(kept.by && Math.abs(kept.at_ms - Date.now()) < 120_000)
    await done(page)
  })
  it('see no vehicles and no people', async () => {
    const page = await police()
    await page.locator('.queue-row, .queue .empty').first().waitFor()
    const status = await page.evaluate(async (token) => (await fetch('/api/v1/vehicles', { headers: { Authorization: `Bearer ${token}` } })).status, server.police)
    assert.equal(status, 403)
    await done(page, NETWORK)
  })
  it('print one finding on A4', async () => {
    const page = await police()
    await page.locator('.tabs button').nth(1).click()
    const row = page.locator('.queue-row').first()
    await row.waitFor()
    await row.click()
    await page.locator('.detail-time .uplot canvas').first().waitFor()
    await page.emulateMedia({ media: 'print' })
    assert.ok(!(await page.locator('.queue').isVisible()))
    assert.ok(await page.locator('.print-foot').isVisible())
    const pdf = await page.pdf({ format: 'A4', preferCSSPageSize: true })
    const pages = (pdf.toString('latin1').match(/\/Type\s*\/Page\b/g) ?? []).length
    assert.ok(pages >= 1 && pages <= 3, `${pages} pages`)
    console.log(`# printed ${pages} page(s), ${pdf.length} bytes`)
    await done(page)
  })
})

describe('the parent', () => {
  it('reads one sentence, the plate and the age of the position', async () => {
    const page = await openPage(browser, server.parentUrl, { size: PHONE })
    await page.locator('.p-plate').waitFor()
    assert.ok((await page.locator('.p-sentence').innerText()).length > 3)
    assert.match(await page.locator('.p-fresh').innerText(), /位置 \d+ (秒|分钟)前|没有最新位置/)
    assert.ok(new URL(page.url()).hash.length > 2, 'the link stays whole, so that it can be reloaded')
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= PHONE.width)
    await done(page)
  })
  it('an invented or missing link is explained', async () => {
    const page = await openPage(browser, `${server.url}/parent/#not-a-link`, { size: PHONE })
    await page.getByText('这个链接已失效').waitFor()
    await page.goto(`${server.url}/parent/`)
    await page.reload()
    await page.getByText('链接不完整').waitFor()
    await done(page, NETWORK)
  })
  it('downloads less than 60 KB', async () => {
    const page = await openPage(browser, server.parentUrl, { size: PHONE })
    await page.locator('.p-plate').waitFor()
    const bytes = await page.evaluate(() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource').filter((r) => !r.name.includes('/api/'))].reduce((sum, r) => sum + r.encodedBodySize, 0))
    console.log(`# parent page: ${bytes} bytes`)
    assert.ok(bytes > 0 && bytes < 60_000, `${bytes} bytes`)
    await done(page)
  })
})

/* What only the stand-in server can be told to do. */
describe('states on demand', () => {
  it('every state of the parent page has its words', async (t) => {
    if (server.real) return t.skip('the stand-in server only')
    for (const [state, words] of [['coming', /还有 3 站，约 \d\d:\d\d 到/], ['arriving', /即将到站/], ['at_stop', /已到站/], ['passed', /驶过本站/], ['no_signal', /暂时看不到/], ['not_running', /没有班次/]]) {
      await server.door(`/dev/parent?state=${state}`)
      const page = await openPage(browser, server.parentUrl, { size: PHONE })
      await page.locator('.p-sentence').filter({ hasText: words }).waitFor()
      if (state === 'no_signal') assert.equal(await page.locator('.p-button').count(), 0, 'no map without a position')
      if (state === 'arriving') assert.equal(await page.locator('.p-notice').count(), 1)
      await done(page)
    }
    await server.door('/dev/parent?state=coming')
  })
  it('an SOS rings, is announced and goes to the top; muting does not silence it', async (t) => {
    if (server.real) return t.skip('the stand-in server only')
    const page = await officer({
      seed: { 'schoolward.sound': 'on' },
      before: (p) => p.addInitScript(() => {
        window.tones = 0
        const make = AudioContext.prototype.createOscillator
        AudioContext.prototype.createOscillator = function () {
          window.tones++
          return make.call(this)
        }
      })
    })
    await page.locator('.alarm-table tbody tr').first().waitFor()
    const raised = await server.door('/dev/finding?rule=SOS-1&bus=20')
    await page.locator('[aria-live=assertive]', { hasText: '一键报警' }).waitFor({ state: 'attached' })
    await until('the title counts it', async () => /^\(\d+\)/.test(await page.title()))
    await until('it rings', () => page.evaluate(() => window.tones > 0), 4000)
    await page.keyboard.press('m')
    await page.getByText(/静音 1[45]:/).first().waitFor()
    const tones = await page.evaluate(() => window.tones)
    await until('it rings again though muted', () => page.evaluate((n) => window.tones > n, tones), 13_000)
    assert.match(await page.locator('.alarm-table tbody tr').filter({ hasText: '一键报警' }).first().innerText(), /紧急/)
    assert.ok((await page.locator('.bus-row').first().innerText()).includes(raised.plate))
    await done(page)
  })
})

describe('accessibility (WCAG 2.1 A and AA by axe)', () => {
  const clean = async (page) => assert.deepEqual(await axe(page), [])
  it('the checker itself finds a fault when there is one', async () => {
    const page = await openPage(browser, `${server.url}/`)
    await page.locator('#token').waitFor()
    await page.evaluate(() => document.querySelector('label').remove())
    assert.match((await axe(page)).join(), /label/)
    await page.context().close()
  })
  for (const theme of ['light', 'dark']) {
    for (const size of [DESK, PHONE]) {
      it(`officer, ${theme}, ${size.width}`, async () => {
        const page = await officer({ theme, size, lang: theme === 'light' ? 'zh' : 'en' })
        await page.locator('.bus-row').first().waitFor()
        await clean(page)
        await page.locator('.bus-row').first().click()
        await page.locator('.drawer .uplot canvas').nth(1).waitFor()
        await clean(page)
        await page.context().close()
      })
      it(`police, ${theme}, ${size.width}`, async () => {
        const page = await police({ theme, size, lang: theme === 'light' ? 'en' : 'zh' })
        await page.locator('.tabs button').nth(1).click()
        await page.locator('.queue-row').first().waitFor()
        await clean(page)
        await page.locator('.queue-row').first().click()
        await page.locator('.detail-time .uplot canvas').first().waitFor()
        await clean(page)
        await page.context().close()
      })
      it(`parent and sign-in, ${theme}, ${size.width}`, async () => {
        const page = await openPage(browser, server.parentUrl, { theme, size })
        await page.locator('.p-plate').waitFor()
        await clean(page)
        await page.goto(`${server.url}/`)
        await page.locator('#token').waitFor()
        await clean(page)
        await page.context().close()
      })
    }
  }
  it('the finding panel, the legend and the help', async () => {
    const page = await officer()
    await page.locator('.alarm-table tbody tr').first().click()
    await page.locator('.drawer .record').waitFor()
    await page.locator('.map-tools .tool').nth(3).click()
    await settled(page)
    await clean(page)
    await page.keyboard.press('?')
    await page.locator('.dialog').waitFor()
    await clean(page)
    await page.context().close()
  })
})
