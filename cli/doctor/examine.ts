/** A subject in, all its checks out, each as soon as it and those before it are known; called by `doctor`. */
import type { PipelineError } from '../../schemas/kernel/errors.ts'
import type { CommandContext } from '../context.ts'
import { type Check, type Examination, examined } from './check.ts'
import { definitionExaminations } from './definition.ts'
import { kafkaExaminations } from './kafka.ts'
import { lagExamination } from './lag.ts'
import { machineExaminations } from './machine.ts'
import { orderExamination } from './order.ts'
import { type Asked, outcomeExaminations } from './outcome.ts'
import { redisExaminations } from './redis.ts'
import { rejectedExamination } from './rejected.ts'
import { skewExamination } from './skew.ts'
import { stateExaminations } from './state.ts'
import type { Subject } from './subject.ts'

/** All examinations run at the same time; `onCheck` gets their checks in a fixed order. */
export async function examine(
  subject: Subject,
  more: {
    readonly env: CommandContext['env']
    readonly faults: PipelineError | null
    readonly asked: Asked
    readonly onCheck: (check: Check) => void
  },
): Promise<Check[]> {
  const examinations: Examination[] = [
    ...machineExaminations(subject.config.folder),
    ...definitionExaminations(subject, more.faults),
    ...kafkaExaminations(subject, more.env),
    ...redisExaminations(subject),
    ...stateExaminations(subject),
    lagExamination(subject),
    orderExamination(subject),
    rejectedExamination(subject),
    ...outcomeExaminations(subject, more.asked),
    skewExamination(subject, more.asked),
  ]
  const under = examinations.map((one) => examined(one))
  // A rejection of a later one must not be unhandled before it is awaited.
  for (const one of under) one.catch(() => undefined)
  const checks: Check[] = []
  for (const one of under) {
    for (const check of await one) {
      checks.push(check)
      more.onCheck(check)
    }
  }
  return checks
}
