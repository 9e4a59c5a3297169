import { resolveObjectURL } from 'node:buffer'
import { describe, expect, it } from 'vitest'
import { ApiError, type MediaItem } from '../src/api'
import { FIRST, Pictures } from '../src/media'
import { NOW } from './make'

const item = (n: number, part: Partial<MediaItem> = {}): MediaItem => ({
  sha256: n.toString(16).padStart(64, '0'), time_ms: NOW + n * 1000, unit: 'dsm', unit_zh: '驾驶员状态监测', unit_en: 'driver monitoring', type: 'picture', alarm_id: n, bytes: 3, ...part
})
function server(media: MediaItem[]) {
  const asked: string[] = []
  return {
    asked,
    media: async () => ({ media }),
    mediaBytes: async (sha: string) => {
      asked.push(sha)
      return new Uint8Array([0xff, 0xd8, 0xff]).buffer as ArrayBuffer
    }
  }
}

describe('pictures of a finding', () => {
  it('ask for nothing before somebody looks, and for each file once', async () => {
    const api = server([item(2), item(1)])
    const p = new Pictures(api, 'f')
    expect(api.asked).toEqual([])
    await p.refresh()
    await p.refresh()
    expect(api.asked).toEqual([item(1).sha256, item(2).sha256])
    expect(p.items.value.map((m) => m.alarm_id)).toEqual([1, 2])
    p.close()
  })
  it('are blobs of our own type, gone when the card closes', async () => {
    const p = new Pictures(server([item(1)]), 'f')
    await p.refresh()
    const url = p.urls.value.get(item(1).sha256)!
    const blob = resolveObjectURL(url)
    expect(blob?.type).toBe('image/jpeg')
    expect(blob?.size).toBe(3)
    p.close()
    expect(resolveObjectURL(url)).toBeUndefined()
    expect(p.items.value).toEqual([])
  })
  it('that arrive after the card was closed make no object URL', async () => {
    let give: (b: ArrayBuffer) => void = () => {}
    const p = new Pictures({ media: async () => ({ media: [item(1)] }), mediaBytes: () => new Promise((done) => (give = done)) }, 'f')
    const looking = p.refresh()
    await Promise.resolve()
    await Promise.resolve()
    p.close()
    give(new ArrayBuffer(3))
    await looking
    expect(p.urls.value.size).toBe(0)
  })
  it('of many, the first row is fetched until somebody wants the rest; clips only when asked for', async () => {
    const api = server(Array.from({ length: FIRST + 3 }, (_, i) => item(i, i === 0 ? { type: 'video' } : {})))
    const p = new Pictures(api, 'f')
    await p.refresh()
    expect(api.asked).toHaveLength(FIRST - 1)
    await p.showAll()
    expect(api.asked).toHaveLength(FIRST + 2)
    expect(await p.fetch(item(0, { type: 'video' }))).toMatch(/^blob:/)
    p.close()
  })
  it('that are not ours to see are not there; a network fault is told and mended', async () => {
    let fault: ApiError | null = new ApiError(404, 'not_found', 'no such finding')
    const api = server([item(1)])
    const p = new Pictures({ ...api, media: async () => { if (fault) throw fault; return api.media() } }, 'f')
    await p.refresh()
    expect([p.items.value, p.error.value]).toEqual([[], null])
    fault = new ApiError(0, 'network', 'x')
    await p.refresh()
    expect(p.error.value).toBe(fault)
    fault = null
    await p.refresh()
    expect([p.items.value.length, p.error.value, p.urls.value.size]).toEqual([1, null, 1])
    p.close()
  })
  it('one that was removed on the server is broken, not asked for for ever', async () => {
    const p = new Pictures({ ...server([item(1)]), mediaBytes: () => Promise.reject(new ApiError(404, 'not_found', 'x')) }, 'f')
    await p.refresh()
    expect(p.broken.value.has(item(1).sha256)).toBe(true)
    p.close()
  })
})
