/*
 * The pictures of one finding, for as long as its card is open: nothing is asked for before, nothing stays after. The server sends a camera's bytes
 * as octets of no type; what they are shown as is decided here. Object URLs live until close().
 */
import { shallowRef, triggerRef } from 'vue'
import { ApiError, type Api, type MediaItem } from './api'

/* A row of thumbnails; whoever wants the rest asks for it. */
export const FIRST = 12

const MIME: Record<MediaItem['type'], string> = { picture: 'image/jpeg', audio: 'audio/wav', video: 'video/mp4' }

export class Pictures {
  readonly items = shallowRef<MediaItem[]>([])
  readonly urls = shallowRef(new Map<string, string>())
  readonly broken = shallowRef(new Set<string>())
  readonly error = shallowRef<unknown>(null)
  private readonly asked = new Set<string>()
  private shown = FIRST
  private closed = false

  constructor(private readonly api: Pick<Api, 'media' | 'mediaBytes'>, private readonly id: string) {}

  async refresh(): Promise<void> {
    try {
      const { media } = await this.api.media(this.id)
      if (this.closed) return
      this.items.value = media.slice().sort((a, b) => a.time_ms - b.time_ms)
      this.error.value = null
    } catch (e) {
      if (this.closed) return
      /* Not ours to see (404), or a server without pictures: then there are none. */
      if (e instanceof ApiError && (e.status === 404 || e.status === 403)) this.items.value = []
      else this.error.value = e
      return
    }
    await this.fetchShown()
  }

  showAll(): Promise<void> {
    this.shown = Infinity
    return this.fetchShown()
  }
  get visible(): MediaItem[] { return this.items.value.slice(0, this.shown) }

  /* One after the other: a card with many pictures must not take the line from the live page. */
  private async fetchShown(): Promise<void> {
    for (const m of this.visible) {
      if (this.closed) return
      if (m.type === 'picture') await this.fetch(m)
    }
  }

  /* The object URL of one file; null when it cannot be had. */
  async fetch(m: MediaItem): Promise<string | null> {
    if (this.asked.has(m.sha256)) return this.urls.value.get(m.sha256) ?? null
    this.asked.add(m.sha256)
    try {
      const bytes = await this.api.mediaBytes(m.sha256)
      if (this.closed) return null
      const url = URL.createObjectURL(new Blob([bytes], { type: MIME[m.type] }))
      this.urls.value.set(m.sha256, url)
      triggerRef(this.urls)
      return url
    } catch (e) {
      if (e instanceof ApiError && e.status === 404) this.fail(m.sha256)
      else this.asked.delete(m.sha256) /* the network: the next look tries again */
      return null
    }
  }

  /* It came and is no picture, or it is not there any more. */
  fail(sha256: string): void {
    this.broken.value.add(sha256)
    triggerRef(this.broken)
  }

  close(): void {
    this.closed = true
    for (const url of this.urls.value.values()) URL.revokeObjectURL(url)
    this.urls.value = new Map()
    this.items.value = []
  }
}
