/* Single-key shortcuts: never while somebody types, never with a modifier, and they can be turned off (WCAG 2.1.4). */
import { onBeforeUnmount, onMounted, ref } from 'vue'
import { choice, choose } from '../session'

export const keysOn = ref(choice('keys') !== 'off')
export function setKeys(on: boolean): void {
  keysOn.value = on
  choose('keys', on ? 'on' : 'off')
}

export function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
}

export function useKeys(actions: Record<string, () => void>, always: Record<string, () => void> = {}): void {
  const press = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return
    const forced = always[event.key]
    if (forced) return forced()
    if (!keysOn.value || typing(event.target)) return
    const action = actions[event.key]
    if (!action) return
    event.preventDefault()
    action()
  }
  onMounted(() => addEventListener('keydown', press))
  onBeforeUnmount(() => removeEventListener('keydown', press))
}
