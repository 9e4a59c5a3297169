/*
 * npm run test:e2e --prefix web [-- pages|shots]
 *   0 passed, 1 failed, 77 skipped (no Chromium here)
 */
import { available } from './lib.mjs'

const missing = available()
if (missing) {
  console.log(`SKIP: ${missing}`)
  process.exit(77)
}
const only = process.argv.slice(2)
for (const name of ['pages', 'shots']) if (only.length === 0 || only.includes(name)) await import(`./${name}.e2e.mjs`)
