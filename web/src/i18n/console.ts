import { translator } from './index'
import { zh } from './console.zh'
import { en } from './console.en'
export const t = translator({ zh, en })
export type Key = keyof typeof zh
