/*
 * What is selected is in the address, so that it can be sent to a colleague and survives a reload.
 * Unknown parameters are kept as they are; tokens are never put here.
 */
export interface UrlState { bus: string | null; finding: string | null; tab: string | null }

const KEYS: (keyof UrlState)[] = ['bus', 'finding', 'tab']

export function readUrl(search: string): UrlState {
  const q = new URLSearchParams(search)
  const one = (key: string) => {
    const value = q.get(key)
    return value === null || value === '' || value.length > 200 ? null : value
  }
  return { bus: one('bus'), finding: one('finding'), tab: one('tab') }
}

export function writeUrl(search: string, state: Partial<UrlState>): string {
  const q = new URLSearchParams(search)
  for (const key of KEYS) {
    if (!(key in state)) continue
    const value = state[key]
    if (value === null || value === undefined) q.delete(key)
    else q.set(key, value)
  }
  const text = q.toString()
  return text === '' ? '' : `?${text}`
}
