import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ApiError, type Gateway, type NewOrder, type Order } from '../src/api'
import { findGateway } from '../src/gateways'
import { locale } from '../src/i18n'
import { characters, fits, IDLE_MS, mayOrder, Orders, tidy, WATCH_MS } from '../src/orders'
import { orderResult, sizeWords } from '../src/words'
import { NOW } from './make'

const order = (part: Partial<Order> = {}): Order => ({
  id: '1', kind: 'locate', text: null, number: null, version: null, by: '值班员', state: 'waiting', result: null, created_ms: NOW, expires_ms: NOW + 600_000, answered_ms: null, ...part
})

describe('orders of a bus', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('are looked at often while one is under way, seldom otherwise, never after the card is closed', async () => {
    let list = [order()], looks = 0
    const o = new Orders({ orders: async () => { looks++; return { orders: list } }, order: async () => order() }, 'b1')
    await o.watch()
    await vi.advanceTimersByTimeAsync(WATCH_MS)
    expect(looks).toBe(2)
    list = [order({ state: 'done', result: 'shown' })]
    await vi.advanceTimersByTimeAsync(WATCH_MS)
    expect(o.list.value[0]!.state).toBe('done')
    await vi.advanceTimersByTimeAsync(IDLE_MS - 1)
    expect(looks).toBe(3)
    await vi.advanceTimersByTimeAsync(1)
    expect(looks).toBe(4)
    o.close()
    await vi.advanceTimersByTimeAsync(10 * IDLE_MS)
    expect(looks).toBe(4)
  })
  it('a slow answer from before an order does not take it away again', async () => {
    const gates: ((l: { orders: Order[] }) => void)[] = []
    const o = new Orders({ orders: () => new Promise((done) => gates.push(done)), order: async () => order({ id: '9' }) }, 'b1')
    const first = o.watch()
    await o.give({ kind: 'locate' })
    gates[0]!({ orders: [] })
    await first
    expect(o.list.value.map((x) => x.id)).toEqual(['9'])
    o.close()
  })
  it('what the server refuses is thrown and leaves no order in the list', async () => {
    const given: NewOrder[] = []
    const o = new Orders({ orders: async () => ({ orders: [] }), order: async (_, x) => { given.push(x); throw new ApiError(403, 'forbidden', 'no') } }, 'b1')
    await expect(o.give({ kind: 'text', text: 'x' })).rejects.toThrow('no')
    expect([given.length, o.list.value.length]).toEqual([1, 0])
    o.close()
  })
})

describe('a text to the driver', () => {
  it('is counted in characters, not UTF-16 units', () => {
    expect(characters('护学🚌')).toBe(3)
    expect(fits('🚌'.repeat(200))).toBe(true)
    expect(fits('🚌'.repeat(201))).toBe(false)
  })
  it('is one line, and not empty', () => {
    expect(tidy(' 前方封路\n请改道\t ')).toBe('前方封路 请改道')
    expect(fits(' \n ')).toBe(false)
  })
  it('police give no orders', () => expect([mayOrder('officer'), mayOrder('admin'), mayOrder('police'), mayOrder(undefined)]).toEqual([true, true, false, false]))
})

describe('words', () => {
  it('what a gateway answers is said in the reader’s language; what is new is shown as it came', () => {
    locale.value = 'zh'
    expect(orderResult('51.100000,71.400000 3 s ago')).toBe('位于 51.100000,71.400000，3 秒前定位')
    expect(orderResult('2 cameras told: the picture comes as media')).toBe('已通知 2 台摄像机，图片随后传回')
    expect(orderResult('something new')).toBe('something new')
    locale.value = 'en'
    expect(orderResult('1 camera told: the picture comes as media')).toBe('1 camera told, its picture follows')
    locale.value = 'zh'
  })
  it('sizes', () => expect([0, 999, 1000, 12_345, 1_340_000, 64e9].map(sizeWords)).toEqual(['0 B', '999 B', '1.0 KB', '12 KB', '1.3 MB', '64 GB']))
})

describe('the gateway of a bus', () => {
  const gw = (id: string, vehicle: string | null) => ({ id, vehicle }) as Gateway
  it('is found in the list once and asked for by its name after that', async () => {
    const asked: string[] = []
    const api = {
      gateways: async () => { asked.push('all'); return { server_time_ms: NOW, gateways: [gw('g0', null), gw('g1', 'b1')] } },
      gateway: async (id: string) => { asked.push(id); return gw(id, 'b1') }
    }
    const got = await findGateway(api, 'b1', null)
    expect(got?.id).toBe('g1')
    await findGateway(api, 'b1', got!.id)
    expect(await findGateway(api, 'b7', null)).toBeNull()
    expect(asked).toEqual(['all', 'g1', 'all'])
  })
})
