/* What was ordered of one bus and what became of it, looked at again and again while somebody is watching. */
import { shallowRef } from 'vue'
import type { Api, NewOrder, Order, Role } from './api'

export const TEXT_MAX = 200
/* One that is under way is looked at often; the rest only changes when a colleague orders something. */
export const WATCH_MS = 1500
export const IDLE_MS = 10_000

export const underWay = (o: Order): boolean => o.state === 'waiting' || o.state === 'sent'
export const mayOrder = (role: Role | undefined): boolean => role === 'officer' || role === 'admin'

/* Characters as people count them, not UTF-16 units; the server counts the same. */
export const characters = (text: string): number => [...text].length
/* As it goes out: no line breaks or other control characters, which the server refuses and a driver's display cannot show. */
export const tidy = (text: string): string => text.replace(/[\u0000-\u001f\u007f]+/g, ' ').trim()
export const fits = (text: string): boolean => tidy(text) !== '' && characters(tidy(text)) <= TEXT_MAX

export class Orders {
  readonly list = shallowRef<Order[]>([])
  readonly error = shallowRef<unknown>(null)
  readonly loaded = shallowRef(false)
  private timer: ReturnType<typeof setTimeout> | undefined
  private closed = false
  private round = 0

  constructor(private readonly api: Pick<Api, 'orders' | 'order'>, readonly vehicle: string) {}

  async watch(): Promise<void> {
    clearTimeout(this.timer)
    const round = ++this.round
    try {
      const { orders } = await this.api.orders(this.vehicle)
      /* A slow answer of an earlier look must not undo what a later one has brought. */
      if (this.closed || round !== this.round) return
      this.list.value = orders
      this.error.value = null
    } catch (e) {
      if (this.closed || round !== this.round) return
      this.error.value = e
    }
    this.loaded.value = true
    this.timer = setTimeout(() => void this.watch(), this.list.value.some(underWay) ? WATCH_MS : IDLE_MS)
  }

  /* Throws what the server refused; the order is in the list when it returns. */
  async give(order: NewOrder): Promise<Order> {
    const made = await this.api.order(this.vehicle, order)
    if (this.closed) return made
    this.list.value = [made, ...this.list.value.filter((o) => o.id !== made.id)]
    void this.watch()
    return made
  }

  close(): void {
    this.closed = true
    clearTimeout(this.timer)
  }
}
