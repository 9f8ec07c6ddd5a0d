import { createHash } from 'node:crypto'

const root = process.argv[2]
const { runScenario } = await import(`${root}/test/simulation/run-scenario.ts`)
for (let seed = 1; seed <= 60; seed++) {
  const { trace, violations } = await runScenario(seed, { isTraced: true })
  const lines = trace.filter((line: string) => /^[\d.]+ (?!fault)/.test(line))
  console.log(
    seed,
    lines.length,
    createHash('sha256').update(lines.join('\n')).digest('hex').slice(0, 16),
    violations.length,
  )
}
