/*
 * The alarm tone, made in code: two tones for a critical finding, every ten seconds until somebody acknowledges it; once
 * for a high one. Muting lasts at most fifteen minutes and never covers an SOS.
 */
import { computed, ref } from 'vue'
import { choice, choose } from './session'

export const REPEAT_MS = 10_000
export const MUTE_MS = 15 * 60_000

/* Whether the repeating alarm is to be heard now. */
export function alarmWanted(s: { enabled: boolean; muted_until_ms: number; now_ms: number; critical: number; sos: number }): boolean {
  if (!s.enabled) return false
  if (s.sos > 0) return true
  return s.critical > 0 && s.now_ms >= s.muted_until_ms
}

export class Alarm {
  readonly enabled = ref(choice('sound') === 'on')
  readonly mutedUntil_ms = ref(0)
  /* Browsers keep sound off until the page was touched; until then the bell shows that it cannot ring. */
  readonly blocked = ref(false)
  readonly on = computed(() => this.enabled.value && !this.blocked.value)
  private context: AudioContext | null = null
  private last_ms = -Infinity
  /* How often the alarm rang: for the tests and for the curious. */
  readonly rung = ref(0)

  async enable(value: boolean): Promise<void> {
    this.enabled.value = value
    choose('sound', value ? 'on' : 'off')
    if (value) {
      await this.wake()
      this.ring('test')
    }
  }

  mute(now_ms: number): void {
    this.mutedUntil_ms.value = now_ms < this.mutedUntil_ms.value ? 0 : now_ms + MUTE_MS
  }

  async wake(): Promise<void> {
    this.context ??= new AudioContext()
    if (this.context.state !== 'running') await this.context.resume().catch(() => undefined)
    this.blocked.value = this.context.state !== 'running'
  }

  /* Called once a second with what is open. */
  tick(now_ms: number, critical: number, sos: number): void {
    const wanted = alarmWanted({
      enabled: this.enabled.value, muted_until_ms: this.mutedUntil_ms.value, now_ms, critical, sos
    })
    if (!wanted) {
      this.last_ms = -Infinity
      return
    }
    if (now_ms - this.last_ms < REPEAT_MS) return
    this.last_ms = now_ms
    this.ring('critical')
  }

  once(now_ms: number): void {
    if (this.enabled.value && now_ms >= this.mutedUntil_ms.value) this.ring('high')
  }

  private ring(kind: 'critical' | 'high' | 'test'): void {
    this.rung.value++
    try {
      this.context ??= new AudioContext()
      const audio = this.context
      if (audio.state !== 'running') {
        this.blocked.value = true
        void audio.resume().then(() => (this.blocked.value = audio.state !== 'running'))
      }
      const tones = kind === 'critical' ? [880, 660, 880, 660] : kind === 'high' ? [660, 880] : [660]
      tones.forEach((hz, i) => tone(audio, hz, audio.currentTime + i * 0.24, 0.2))
    } catch {
      this.blocked.value = true
    }
  }
}

function tone(audio: AudioContext, hz: number, at_s: number, long_s: number): void {
  const source = audio.createOscillator()
  const gain = audio.createGain()
  source.type = 'triangle'
  source.frequency.value = hz
  /* Ramps, because a tone cut off hard clicks. */
  gain.gain.setValueAtTime(0, at_s)
  gain.gain.linearRampToValueAtTime(0.35, at_s + 0.02)
  gain.gain.setValueAtTime(0.35, at_s + long_s - 0.04)
  gain.gain.linearRampToValueAtTime(0, at_s + long_s)
  source.connect(gain).connect(audio.destination)
  source.start(at_s)
  source.stop(at_s + long_s)
}
