/** How the profile of a training set spells its figures, in the terminal and on the page. */
import type { Distribution } from '../../online-model/training-store/profile.ts'

export const percent = (share: number) => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 2 : 1)} %`

export const missingShare = ({ rows, missing }: Distribution) => (missing === 0 ? 0 : missing / (rows + missing))

/** Four digits distinguish distributions. */
export const short = (value: number | null) => (value === null ? '-' : String(Number(value.toPrecision(4))))
