/* Pictures of every page in both languages, on a desk and on a phone, for the eye and for the README. */
import { after, before, describe, it } from 'node:test'
import { DESK, LAPTOP, openBrowser, openPage, openServer, PHONE, settled, shot } from './lib.mjs'

describe('screenshots', () => {
  let browser, server
  before(async () => {
    server = await openServer()
    browser = await openBrowser()
  })
  after(async () => {
    await browser?.close()
    await server?.stop()
  })
  const sizes = { desk: DESK, laptop: LAPTOP, phone: PHONE }
  for (const lang of ['zh', 'en']) {
    for (const [name, size] of Object.entries(sizes)) {
      it(`officer ${lang} ${name}`, async () => {
        const page = await openPage(browser, `${server.url}/officer/#token=${server.officer}`, { lang, size })
        await page.locator('.bus-row').first().waitFor()
        if (name === 'phone') {
          await shot(page, `officer-${lang}-${name}-list`)
          await page.locator('.panes button').nth(2).click()
          await shot(page, `officer-${lang}-${name}-alarms`)
          await page.locator('.panes button').nth(1).click()
        }
        await settled(page)
        await shot(page, `officer-${lang}-${name}`)
        if (name === 'phone') await page.locator('.panes button').nth(0).click()
        await page.locator('.bus-row').first().click()
        await page.locator('.drawer canvas').first().waitFor()
        await settled(page)
        await page.waitForTimeout(600)
        await shot(page, `officer-${lang}-${name}-bus`)
        await page.context().close()
      })
    }
    it(`officer finding ${lang}`, async () => {
      const page = await openPage(browser, `${server.url}/officer/#token=${server.officer}`, { lang })
      await page.locator('.alarm-table tbody tr').first().click()
      await page.locator('.drawer .citation').first().waitFor()
      await settled(page)
      await page.waitForTimeout(600)
      await shot(page, `officer-${lang}-desk-finding`)
      await page.context().close()
    })
    for (const [name, size] of [['desk', DESK], ['phone', PHONE]]) {
      it(`police ${lang} ${name}`, async () => {
        const page = await openPage(browser, `${server.url}/police/#token=${server.police}`, { lang, size })
        await page.locator('.queue-row').first().waitFor({ state: 'attached' })
        if (name === 'phone') {
          await shot(page, `police-${lang}-phone-queue`)
          await page.locator('.queue-row').first().click()
        }
        await page.locator('.detail-time canvas').first().waitFor()
        await settled(page)
        await page.waitForTimeout(600)
        await shot(page, `police-${lang}-${name}`)
        await page.context().close()
      })
      it(`sign-in ${lang} ${name}`, async () => {
        const page = await openPage(browser, `${server.url}/`, { lang, size })
        await page.locator('#token').waitFor()
        await shot(page, `home-${lang}-${name}`)
        await page.context().close()
      })
      it(`parent ${lang} ${name}`, async () => {
        const states = server.real ? [''] : ['coming', 'arriving', 'passed', 'no_signal', 'not_running']
        for (const state of states) {
          if (state) await server.door(`/dev/parent?state=${state}`)
          const page = await openPage(browser, server.parentUrl, { lang, size })
          await page.locator('.p-plate, .p-quiet').first().waitFor()
          await page.waitForTimeout(200)
          await shot(page, `parent-${lang}-${name}${state === 'coming' || !state ? '' : `-${state}`}`)
          if (state === 'coming' && (await page.locator('.p-button').count()) > 0) {
            await page.locator('.p-button').click()
            await settled(page)
            await shot(page, `parent-${lang}-${name}-map`)
          }
          await page.context().close()
        }
        if (!server.real) await server.door('/dev/parent?state=coming')
      })
    }
  }
  it('dark', async () => {
    const page = await openPage(browser, `${server.url}/officer/#token=${server.officer}`, { theme: 'dark' })
    await page.locator('.bus-row').first().click()
    await page.locator('.drawer canvas').first().waitFor()
    await settled(page)
    await page.waitForTimeout(600)
    await shot(page, 'officer-zh-desk-dark')
    await page.context().close()
    const police = await openPage(browser, `${server.url}/police/#token=${server.police}`, { theme: 'dark' })
    await police.locator('.detail-time canvas').first().waitFor()
    await settled(police)
    await shot(police, 'police-zh-desk-dark')
    await police.context().close()
  })
})
