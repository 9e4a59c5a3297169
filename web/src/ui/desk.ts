/*
 * What the officer's and the police's page have in common: signing in, the server's clock, the live socket, the findings
 * and the alarm sound. One object per page.
 */
import { computed, onBeforeUnmount, ref, shallowRef } from 'vue'
import { Api, ApiError, type Finding, type LiveMessage, type MapSet, type Role, type Session } from '../api'
import { Findings, isEmergency, mustSound } from '../findings'
import { Fleet, rowOf, type Row } from '../fleet'
import { setLimits } from '../freshness'
import { t } from '../i18n/console'
import { Live } from '../live'
import { forgetToken, loadToken, saveToken } from '../session'
import { Alarm } from '../sound'
import { setZone } from '../time'

export type Stage = 'sign_in' | 'loading' | 'forbidden' | 'unreachable' | 'ready'
const RECENT = 200
const MOST_PAGES = 20

/* Every open finding, page by page; a county with thousands of them open has other worries than the oldest. */
async function allOpen(api: Api): Promise<Finding[]> {
  const list: Finding[] = []
  let cursor: string | undefined
  for (let page = 0; page < MOST_PAGES; page++) {
    const part = await api.findings({ state: 'open', limit: RECENT, cursor })
    list.push(...part.findings)
    if (!part.next_cursor) break
    cursor = part.next_cursor
  }
  return list
}

export function useDesk(options: { roles: Role[]; fleet: boolean; title: () => string; onFinding?: (f: Finding, change: string) => void }) {
  const stage = ref<Stage>('loading')
  const session = shallowRef<Session | null>(null)
  const signInError = ref<string | null>(null)
  const loadError = ref<string | null>(null)
  const loaded = ref(false)
  const maps = shallowRef<MapSet[] | null>(null)
  const api = shallowRef<Api | null>(null)
  const live = shallowRef<Live | null>(null)
  const fleet = new Fleet()
  const findings = new Findings()
  const alarm = new Alarm()
  const rows = shallowRef<Row[]>([])
  const now = ref(Date.now())
  const announcement = ref({ polite: '', assertive: '' })
  let offset_ms = 0
  let drawn_ms = 0

  const cutOff = computed(() => live.value?.cut_off.value ?? false)
  const silent_s = computed(() => Math.floor((live.value?.silent_ms.value ?? 0) / 1000))
  const allFindings = computed(() => {
    void findings.version.value
    return findings.all()
  })
  const ringing = computed(() => allFindings.value.filter(mustSound))

  function redraw(): void {
    drawn_ms = performance.now()
    const list: Row[] = []
    for (const held of fleet.all()) list.push(rowOf(held, drawn_ms, cutOff.value))
    rows.value = list
  }

  const timer = setInterval(() => {
    now.value = Date.now() + offset_ms
    if (performance.now() - drawn_ms > 900) redraw()
    const sos = ringing.value.filter(isEmergency).length
    alarm.tick(now.value, ringing.value.length, sos)
    const n = allFindings.value.filter((f) => f.state === 'open' && f.ack === null).length
    document.title = n > 0 ? `(${n}) ${options.title()}` : options.title()
  }, 1000)

  const wake = () => {
    if (alarm.enabled.value && alarm.blocked.value) void alarm.wake()
  }
  addEventListener('pointerdown', wake)
  addEventListener('keydown', wake)
  onBeforeUnmount(() => {
    clearInterval(timer)
    live.value?.stop()
    removeEventListener('pointerdown', wake)
    removeEventListener('keydown', wake)
  })

  function explain(error: unknown): string {
    if (error instanceof ApiError) return error.status === 0 ? t('server_unreachable') : error.hint ? `${error.message} (${error.hint})` : error.message
    return String(error)
  }

  async function signIn(token: string): Promise<void> {
    stage.value = 'loading'
    signInError.value = null
    live.value?.stop()
    const client = new Api(token)
    try {
      const who = await client.session()
      session.value = who
      saveToken(token)
      setZone(who.time_zone)
      setLimits(who.freshness)
      offset_ms = who.server_time_ms - Date.now()
      now.value = who.server_time_ms
      if (!options.roles.includes(who.role)) {
        stage.value = 'forbidden'
        return
      }
    } catch (error) {
      const refused = error instanceof ApiError && (error.status === 401 || error.status === 403)
      signInError.value = refused ? t('token_wrong') : explain(error)
      if (refused) forgetToken()
      stage.value = refused ? 'sign_in' : 'unreachable'
      return
    }
    api.value = client
    stage.value = 'ready'
    client.maps().then((m) => (maps.value = m.maps), () => (maps.value = []))
    live.value = new Live(client, {
      message: receive,
      connected: () => void refetch(),
      refused: () => {
        forgetToken()
        signInError.value = t('token_wrong')
        live.value?.stop()
        stage.value = 'sign_in'
      }
    })
    /* Not waiting for the socket: a proxy that forbids websockets must still show something. */
    void refetch()
  }

  /* Everything anew: after the first connection and after each reconnection. */
  async function refetch(): Promise<void> {
    const client = api.value
    if (!client) return
    try {
      const [open, recent, vehicles] = await Promise.all([
        allOpen(client), client.findings({ limit: RECENT }), options.fleet ? client.vehicles() : null
      ])
      findings.refresh([...recent.findings, ...open])
      if (vehicles) fleet.replace(vehicles.vehicles, performance.now())
      loadError.value = null
      loaded.value = true
      redraw()
    } catch (error) {
      loadError.value = explain(error)
    }
  }

  function receive(message: LiveMessage): void {
    switch (message.type) {
      case 'hello':
        offset_ms = message.server_time_ms - Date.now()
        break
      case 'positions':
        offset_ms = message.server_time_ms - Date.now()
        if (options.fleet && message.vehicles.length > 0) {
          fleet.merge(message.vehicles, performance.now())
          redraw()
        }
        break
      case 'finding': {
        const f = message.finding
        findings.merge([f])
        if (message.change === 'opened' && !f.late) {
          const line = t('alarm_new', { plate: f.plate, title: titleOf(f) })
          if (f.severity === 'critical') announcement.value = { polite: '', assertive: line }
          else announcement.value = { polite: line, assertive: '' }
          if (f.severity === 'high') alarm.once(now.value)
        }
        options.onFinding?.(f, message.change)
        break
      }
      default:
        /* A newer server may say more than this page knows. */
        break
    }
  }

  const titleOf = (f: Finding) => (document.documentElement.lang.startsWith('zh') ? f.title_zh : f.title_en)

  async function acknowledge(id: string, note: string): Promise<string | null> {
    try {
      findings.merge([await api.value!.acknowledge(id, note)])
      return null
    } catch (error) {
      return t('ack_failed', { why: explain(error) })
    }
  }

  /* A finding from the address that is older than what was fetched. */
  async function fetchFinding(id: string): Promise<boolean> {
    if (findings.get(id)) return true
    try {
      findings.merge([await api.value!.finding(id)])
      return true
    } catch {
      return false
    }
  }

  function signOut(): void {
    forgetToken()
    live.value?.stop()
    api.value = null
    session.value = null
    stage.value = 'sign_in'
  }

  const token = loadToken()
  if (token === null) stage.value = 'sign_in'
  else void signIn(token)

  return {
    stage, session, signInError, loadError, loaded, maps, api, fleet, findings, allFindings, rows, now, cutOff, silent_s, alarm, ringing,
    announcement, signIn, signOut, refetch, acknowledge, fetchFinding, explain, retry: () => void signIn(loadToken() ?? '')
  }
}
export type DeskModel = ReturnType<typeof useDesk>
