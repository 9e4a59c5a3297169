/*
 * What the browser tests stand on: Debian's Chromium through playwright-core, and a server to talk to. That is the running
 * demo where SCHOOLWARD_DEMO_JSON names its demo.json (or SCHOOLWARD_URL with SCHOOLWARD_TOKEN_OFFICER, _POLICE, _PARENT_URL),
 * and otherwise the stand-in server of web/dev on a free port.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const WEB = fileURLToPath(new URL('../../web/', import.meta.url))
const require = createRequire(join(WEB, 'package.json'))
const { chromium } = require('playwright-core')
const AXE = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8')

const BROWSER = process.env.SCHOOLWARD_CHROMIUM ?? '/usr/lib/chromium/chromium'
export const SHOTS = resolve(process.env.SCHOOLWARD_SCREENSHOTS ?? fileURLToPath(new URL('../../build/screenshots', import.meta.url)))
export const DESK = { width: 1440, height: 900 }
export const LAPTOP = { width: 1024, height: 768 }
export const PHONE = { width: 390, height: 844 }

export function available() {
  return existsSync(BROWSER) ? null : `no Chromium at ${BROWSER}: install the package "chromium" or set SCHOOLWARD_CHROMIUM`
}

export async function openServer() {
  const file = process.env.SCHOOLWARD_DEMO_JSON
  if (file) {
    const demo = JSON.parse(readFileSync(file, 'utf8'))
    const token = (role) => demo.accounts.find((a) => a.role === role)?.token
    return { real: true, url: demo.url.replace(/\/$/, ''), officer: token('officer') ?? demo.token, police: token('police'), parentUrl: demo.parent_url, stop: async () => {} }
  }
  if (process.env.SCHOOLWARD_URL) {
    const e = process.env
    return { real: true, url: e.SCHOOLWARD_URL.replace(/\/$/, ''), officer: e.SCHOOLWARD_TOKEN_OFFICER, police: e.SCHOOLWARD_TOKEN_POLICE, parentUrl: e.SCHOOLWARD_PARENT_URL, stop: async () => {} }
  }
  if (!existsSync(join(WEB, 'dist/index.html'))) throw new Error('web/dist is missing: run `npm run build --prefix web` first')
  const dev = await import(pathToFileURL(join(WEB, 'dev/server.mjs')))
  const server = await dev.startServer()
  return { real: false, url: server.url, officer: 'dev-officer', police: 'dev-police', parentUrl: `${server.url}/parent/#${dev.PARENT_TOKEN}`, stop: server.stop, door: (path) => fetch(server.url + path, { method: 'POST' }).then((r) => r.json()) }
}

export async function openBrowser() {
  return chromium.launch({
    executablePath: BROWSER,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-quic', '--no-first-run', '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required']
  })
}

/* A page in its own context that remembers every complaint of the browser: errors, refused resources, CSP violations. */
export async function openPage(browser, url, { size = DESK, lang = 'zh', theme = 'light', seed = {}, before } = {}) {
  const context = await browser.newContext({ viewport: size, deviceScaleFactor: size.width < 500 ? 2 : 1, locale: lang === 'zh' ? 'zh-CN' : 'en-GB', colorScheme: theme, reducedMotion: 'reduce' })
  await context.addInitScript((items) => {
    for (const [key, value] of Object.entries(items)) if (localStorage.getItem(key) === null) localStorage.setItem(key, value)
  }, { 'schoolward.locale': lang, ...seed })
  const page = await context.newPage()
  page.complaints = []
  page.on('console', (m) => m.type() === 'error' && page.complaints.push(m.text()))
  page.on('pageerror', (e) => page.complaints.push(String(e)))
  if (before) await before(page)
  await page.goto(url)
  return page
}

/* Violations of WCAG 2.1 A and AA, in words. */
export async function axe(page) {
  await page.evaluate(AXE)
  const result = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }))
  return result.violations.map((v) => `${v.id}: ${v.help}\n` + v.nodes.slice(0, 5).map((n) => `    ${n.target.join(' ')}  ${n.any[0]?.message ?? n.all[0]?.message ?? ''}`).join('\n'))
}

export async function shot(page, name) {
  mkdirSync(SHOTS, { recursive: true })
  await page.screenshot({ path: join(SHOTS, `${name}.png`) })
}

/* Wait until the map has drawn its tiles and rests: the canvas is the same twice in a row. */
export async function settled(page, selector = '.map canvas') {
  await page.locator(selector).first().waitFor()
  let last = ''
  for (let i = 0; i < 40; i++) {
    const now = await page.evaluate((s) => [...document.querySelectorAll(s)].map((c) => `${c.width}x${c.height}`).join() + performance.getEntriesByType('resource').filter((r) => r.name.includes('/tiles/')).length, selector)
    if (now === last && i > 3) return
    last = now
    await page.waitForTimeout(250)
  }
}

/* Waits are limits against hanging, generous because a test machine may be busy with other things. */
export async function until(what, test, ms = 10_000) {
  const end = Date.now() + ms
  for (;;) {
    const value = await test()
    if (value) return value
    if (Date.now() > end) throw new Error(`waited ${ms} ms in vain: ${what}`)
    await new Promise((done) => setTimeout(done, 100))
  }
}
