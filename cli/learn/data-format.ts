/** How the commands that learn spell their figures, in the terminal and on the page. */
import type { Distribution } from '../../online-model/training-store/profile.ts'
import { formatDuration } from '../../schemas/kernel/duration.ts'
import type { LabelPlan } from '../../schemas/plan/plan.ts'

export const percent = (share: number) => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 2 : 1)} %`

export const missingShare = ({ rows, missing }: Distribution) => (missing === 0 ? 0 : missing / (rows + missing))

/** Four digits distinguish distributions. */
export const short = (value: number | null) => (value === null ? '-' : String(Number(value.toPrecision(4))))

/** When events leave the state of waiting for their label. */
export function maturityText({ otherwise: { value, afterMs }, learn }: LabelPlan, verb = 'mature'): string {
  const due = `${formatDuration(afterMs)} after the event`
  if (value === null) return learn === 'on-arrival' ? 'mature once reported' : `mature once reported, not before ${due}`
  return learn === 'on-arrival' ? `mature once reported, or ${due}` : `${verb} ${due}`
}
