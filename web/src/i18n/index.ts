/*
 * Two languages, Chinese first. A catalogue is a plain object; the English one has the type of the Chinese one, so a
 * missing key does not compile. "{n} stop|{n} stops" chooses by the plural rules of the language and the value `n`.
 */
import { computed, ref, type ComputedRef } from 'vue'
import { choice, choose } from '../session'

export type Locale = 'zh' | 'en'
export type Values = Record<string, string | number>

const known = choice('locale')
const wished = typeof location !== 'undefined' && new URLSearchParams(location.search).get('lang') === 'en' ? 'en' : 'zh'

export const locale = ref<Locale>(known === 'en' || known === 'zh' ? known : wished)
export const tag: ComputedRef<string> = computed(() => (locale.value === 'zh' ? 'zh-CN' : 'en-GB'))

export function applyLocale(title?: string): void {
  document.documentElement.lang = locale.value === 'zh' ? 'zh-CN' : 'en'
  if (title !== undefined) document.title = title
}
export function setLocale(next: Locale): void {
  locale.value = next
  choose('locale', next)
  applyLocale()
}

const plural = { zh: new Intl.PluralRules('zh-CN'), en: new Intl.PluralRules('en') }

export function fill(text: string, values: Values, lang: Locale): string {
  let chosen = text
  if (text.includes('|') && typeof values.n === 'number') {
    const forms = text.split('|')
    chosen = plural[lang].select(values.n) === 'one' ? forms[0]! : forms[forms.length - 1]!
  }
  return chosen.replace(/\{(\w+)\}/g, (whole, key: string) => (key in values ? String(values[key]) : whole))
}

export function translator<C extends Record<string, string>>(catalogues: { zh: C; en: Record<keyof C, string> }) {
  return (key: keyof C & string, values: Values = {}): string => fill(catalogues[locale.value][key]!, values, locale.value)
}

/* The name of a thing in the reader's language; the other language where one is missing. */
export function named(thing: { name_zh: string; name_en: string } | null | undefined): string {
  if (!thing) return ''
  return locale.value === 'zh' ? thing.name_zh || thing.name_en : thing.name_en || thing.name_zh
}
export function either(zh: string | null | undefined, en: string | null | undefined): string {
  return (locale.value === 'zh' ? zh || en : en || zh) ?? ''
}
