/*
 * Who is signed in here: a token, given in the address's fragment (never sent to a server, not in any log) or typed.
 * It is taken out of the address bar at once and kept for this tab only.
 */
const KEY = 'schoolward.token'

/* "#token=abc&x=1" -> token "abc", rest "#x=1". */
export function takeToken(hash: string): { token: string | null; rest: string } {
  const parts = hash.replace(/^#/, '').split('&').filter((p) => p !== '')
  let token: string | null = null
  const rest: string[] = []
  for (const part of parts) {
    if (part.startsWith('token=')) {
      try {
        token = decodeURIComponent(part.slice(6))
      } catch {
        token = part.slice(6)
      }
    } else rest.push(part)
  }
  return { token: token === '' ? null : token, rest: rest.length > 0 ? `#${rest.join('&')}` : '' }
}

export function loadToken(): string | null {
  const { token, rest } = takeToken(location.hash)
  if (token !== null) {
    saveToken(token)
    history.replaceState(history.state, '', location.pathname + location.search + rest)
    return token
  }
  return sessionStorage.getItem(KEY)
}

export function saveToken(token: string): void { sessionStorage.setItem(KEY, token) }
export function forgetToken(): void { sessionStorage.removeItem(KEY) }

/* Choices that are no secret and should last: language, theme, sound. Storage may be forbidden; then they last for the page. */
const memory = new Map<string, string>()
export function choice(name: string): string | null {
  try {
    return localStorage.getItem(`schoolward.${name}`)
  } catch {
    return memory.get(name) ?? null
  }
}
export function choose(name: string, value: string): void {
  memory.set(name, value)
  try {
    localStorage.setItem(`schoolward.${name}`, value)
  } catch {
    /* kept in memory */
  }
}
