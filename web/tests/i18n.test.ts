import { describe, expect, it } from 'vitest'
import { fill } from '../src/i18n'
import { en as consoleEn } from '../src/i18n/console.en'
import { zh as consoleZh } from '../src/i18n/console.zh'
import { en as parentEn } from '../src/i18n/parent.en'
import { zh as parentZh } from '../src/i18n/parent.zh'

const holes = (text: string) => [...new Set([...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1]))].sort()
const has = /[\u3400-\u9fff]/

describe.each([['consoles', consoleZh, consoleEn], ['parent page', parentZh, parentEn]] as [string, Record<string, string>, Record<string, string>][])('catalogues of the %s', (_, zh, en) => {
  it('have the same keys', () => expect(Object.keys(en).sort()).toEqual(Object.keys(zh).sort()))
  it('have no empty text', () => expect(Object.entries({ ...zh, ...en }).filter(([, v]) => v.trim() === '')).toEqual([]))
  it('fill the same holes in both languages', () => {
    for (const key of Object.keys(zh)) for (const form of en[key]!.split('|')) expect([key, holes(form)]).toEqual([key, holes(zh[key]!)])
  })
  it('English has no Chinese left in it, but for the names of the other language', () => {
    expect(Object.entries(en).filter(([k, v]) => has.test(v) && !k.startsWith('language')).map(([k]) => k)).toEqual([])
  })
})

describe('fill', () => {
  it('chooses the plural of the language', () => {
    expect(fill('{n} stop|{n} stops', { n: 1 }, 'en')).toBe('1 stop')
    expect(fill('{n} stop|{n} stops', { n: 3 }, 'en')).toBe('3 stops')
    expect(fill('还有 {n} 站', { n: 1 }, 'zh')).toBe('还有 1 站')
  })
  it('leaves an unknown hole visible instead of hiding a mistake', () => {
    expect(fill('{a} {b}', { a: 1 }, 'en')).toBe('1 {b}')
  })
})
