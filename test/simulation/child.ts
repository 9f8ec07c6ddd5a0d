/** Runs scenarios in a process of its own, for `simulate.ts`: its arguments are the first seed, the step and the count. */
import { runScenario } from './run-scenario.ts'

export interface ChildReport {
  readonly seed: number
  readonly events: number
  readonly violations: readonly string[]
}

const [first, step, count] = process.argv.slice(2).map(Number) as [number, number, number]
for (let i = 0; i < count; i++) {
  const { seed, events, violations } = await runScenario(first + i * step)
  const report: ChildReport = { seed, events, violations }
  await new Promise((sent) => process.send?.(report, sent))
}
process.disconnect()
