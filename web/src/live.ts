/*
 * The live socket: a one-time ticket, then JSON messages. On any loss it comes back by itself after 1 to 30 seconds with
 * full jitter, and the pages fetch everything anew, because what happened in between was not heard.
 */
import { ref, type Ref } from 'vue'
import { ApiError, type Api, type LiveMessage } from './api'
import { CUT_OFF_MS } from './freshness'

export const SUBPROTOCOL = 'schoolward.live.v1'
const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 30_000

/* The pause before try number `attempt` (0, 1, ...): evenly spread in [1 s, min(30 s, 1 s * 2^attempt)], so that a restart is not met by all screens at once. */
export function reconnectPause(attempt: number, random: number): number {
  const ceiling = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(attempt, 10))
  return FIRST_PAUSE_MS + random * (ceiling - FIRST_PAUSE_MS)
}

export interface LiveHandlers {
  message(message: LiveMessage): void
  /* The socket is up: fetch all state now. `again` is false only the first time. */
  connected(again: boolean): void
  /* The server does not accept this token any more. */
  refused(error: ApiError): void
}

export class Live {
  /* Milliseconds since anything was heard; 0 while all is well. Null before the first connection. */
  readonly silent_ms: Ref<number> = ref(0)
  readonly cut_off: Ref<boolean> = ref(false)
  private socket: WebSocket | null = null
  private attempt = 0
  private heard_ms = performance.now()
  private wasConnected = false
  private stopped = false
  private retry: ReturnType<typeof setTimeout> | undefined
  private readonly watch: ReturnType<typeof setInterval>

  constructor(private readonly api: Api, private readonly handlers: LiveHandlers) {
    this.watch = setInterval(() => this.look(), 500)
    addEventListener('online', this.hurry)
    document.addEventListener('visibilitychange', this.hurry)
    void this.connect()
  }

  stop(): void {
    this.stopped = true
    clearInterval(this.watch)
    clearTimeout(this.retry)
    removeEventListener('online', this.hurry)
    document.removeEventListener('visibilitychange', this.hurry)
    this.socket?.close(1000)
  }

  private readonly hurry = () => {
    if (this.stopped || this.socket !== null || document.hidden) return
    clearTimeout(this.retry)
    void this.connect()
  }

  private look(): void {
    const silent = performance.now() - this.heard_ms
    this.cut_off.value = silent >= CUT_OFF_MS
    this.silent_ms.value = this.cut_off.value ? silent : 0
    /* A socket that is open but silent this long is dead: the network forgot it. */
    if (silent > 10_000 && this.socket?.readyState === WebSocket.OPEN) this.socket.close()
  }

  private async connect(): Promise<void> {
    this.retry = undefined
    let ticket: string
    try {
      ticket = (await this.api.liveTicket()).ticket
    } catch (error) {
      if (error instanceof ApiError && (error.status === 401 || error.status === 403)) {
        this.handlers.refused(error)
        return
      }
      this.later()
      return
    }
    if (this.stopped || this.socket !== null) return
    const url = new URL('/api/v1/live', location.href)
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
    url.searchParams.set('ticket', ticket)
    const socket = new WebSocket(url, SUBPROTOCOL)
    this.socket = socket
    socket.onopen = () => {
      this.hear()
      this.handlers.connected(this.wasConnected)
      this.wasConnected = true
    }
    socket.onmessage = (event) => {
      this.hear()
      this.attempt = 0
      try {
        this.handlers.message(JSON.parse(String(event.data)) as LiveMessage)
      } catch (error) {
        console.error('live: a message could not be used', error)
      }
    }
    socket.onclose = () => {
      if (this.socket === socket) this.socket = null
      if (!this.stopped) this.later()
    }
  }

  private hear(): void {
    this.heard_ms = performance.now()
    this.cut_off.value = false
    this.silent_ms.value = 0
  }

  private later(): void {
    if (this.stopped || this.retry !== undefined) return
    const pause = reconnectPause(this.attempt, Math.random())
    this.attempt++
    this.retry = setTimeout(() => void this.connect(), pause)
  }
}
