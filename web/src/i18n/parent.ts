import { translator } from './index'
import { zh } from './parent.zh'
import { en } from './parent.en'
export const t = translator({ zh, en })
