/* Light by day, dark for the night desk: the system's wish unless somebody chose. */
import { computed, ref } from 'vue'
import { choice, choose } from './session'

export type Theme = 'auto' | 'light' | 'dark'

const system = matchMedia('(prefers-color-scheme: dark)')
const systemDark = ref(system.matches)
system.addEventListener('change', (e) => (systemDark.value = e.matches))

const chosen = choice('theme')
export const theme = ref<Theme>(chosen === 'light' || chosen === 'dark' ? chosen : 'auto')
export const dark = computed(() => (theme.value === 'auto' ? systemDark.value : theme.value === 'dark'))

export function applyTheme(): void {
  document.documentElement.dataset.theme = dark.value ? 'dark' : 'light'
}
export function toggleTheme(): void {
  theme.value = dark.value ? 'light' : 'dark'
  choose('theme', theme.value)
  applyTheme()
}
applyTheme()
system.addEventListener('change', applyTheme)
