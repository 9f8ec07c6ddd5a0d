/**
 * `npm run bench -- --jobs costs`: what an event costs by the size of definition, state and cluster, without servers: a process for each
 * point, one after the other; a table, the law of each line, and a picture. Called by `main.ts`.
 */
import { cpus } from 'node:os'
import { openWholeFile } from '../../cli/whole-file.ts'
import { fineClock } from '../clock.ts'
import { startHelper } from '../helper-process.ts'
import { load, revision } from '../machine.ts'
import { spread } from '../statistics.ts'
import { spreadText } from '../table.ts'
import { type CostLine, type CostPoint, costLines, pointName } from './axes.ts'
import type { LinePoint, MeasuredLine, MeasuredPoint } from './cost-line.ts'
import { costTable } from './cost-table.ts'
import { lawText } from './law.ts'
import type { CostFigures, CostOrder } from './measure.ts'
import { costPicture } from './picture.ts'

export interface CostsOptions {
  /** Measured for each point. */
  readonly rounds: number
  readonly seed: number
  /** File that the picture is written to. */
  readonly picture?: string
}

type Measure = (point: CostPoint) => Promise<CostFigures>

const roundEvents = 20_000
/** As for the guard: by then the code is compiled. */
const warmUpEventsMin = 60_000
const fillCpuSecondsMax = 60

export async function runCosts(
  { rounds, seed, picture }: CostsOptions,
  env: NodeJS.ProcessEnv,
  printLine: (line: string) => void,
): Promise<void> {
  const begun = `${new Date(fineClock.nowMs()).toISOString()}, revision ${(await revision(env)) ?? 'unknown'}`
  // A file that cannot be written is found out before the measuring, not after it.
  const file = picture === undefined ? null : await openWholeFile(picture)
  try {
    const order = { seed, rounds, roundEvents, warmUpEventsMin, fillCpuSecondsMax }
    const lines = await measureLines(costLines, (point) => inOwnProcess({ ...order, point }), printLine)
    printLine('')
    printLine(
      `${begun}: ${cpus().length} cores of ${cpus()[0]?.model.trim()}, ` +
        `Node ${process.versions.node}; seed ${seed}, ${rounds} rounds a point. Figures are min / **median** / max.`,
    )
    for (const line of ['', ...costTable(lines), '', ...lawLines(lines)]) printLine(line)
    await file?.write(costPicture(lines))
    await file?.finish()
  } finally {
    await file?.discard()
  }
}

/** Points that two lines share are measured once; beyond a size that was not reached none is tried. */
export async function measureLines(
  lines: readonly CostLine[],
  measure: Measure,
  printLine: (line: string) => void,
): Promise<MeasuredLine[]> {
  const known = new Map<string, MeasuredPoint>()
  async function measured(point: CostPoint): Promise<MeasuredPoint> {
    const name = pointName(point)
    const before = known.get(name)
    if (before) return before
    const loadBefore = load()
    const now = { point, figures: await measure(point), loadBefore }
    known.set(name, now)
    printLine(`load ${loadBefore.toFixed(2)}: ${name}: ${spreadText(spread(costsOf(now.figures)))} µs an event`)
    return now
  }
  const all: MeasuredLine[] = []
  for (const { name, unit, points, sizeOf } of lines) {
    const done: LinePoint[] = []
    const skipped: number[] = []
    for (const point of points) {
      const isReached = done.every(({ point, size }) => size === sizeOf(point))
      if (isReached) done.push(linePoint(await measured(point), sizeOf))
      else skipped.push(sizeOf(point))
    }
    all.push({ name, unit, points: done, skipped })
  }
  return all
}

function linePoint(measured: MeasuredPoint, sizeOf: CostLine['sizeOf']): LinePoint {
  const { point, figures } = measured
  const facts = figures.isFull ? point.facts : Math.min(point.facts, Math.round(figures.filled / point.entities))
  const steps = figures.rounds.map(({ usPerEvent, usPerStep }) => usPerEvent / usPerStep)
  return { ...measured, size: sizeOf({ ...point, facts }), cost: spread(costsOf(figures)), steps: spread(steps) }
}

function costsOf({ rounds }: CostFigures): number[] {
  return rounds.map(({ usPerEvent }) => usPerEvent)
}

function lawLines(lines: readonly MeasuredLine[]): string[] {
  return lines.flatMap((line) => {
    const skipped = line.skipped.map((size) => size.toLocaleString('en-US')).join(', ')
    const law = line.points.length > 1 ? [`- ${lawText(line)}`] : []
    return skipped === ''
      ? law
      : [...law, `- ${line.name}: not tried, since a smaller size was not reached: ${skipped}.`]
  })
}

async function inOwnProcess(order: CostOrder): Promise<CostFigures> {
  const helper = await startHelper<CostOrder, CostFigures>('costs/costs-process.ts', order)
  try {
    return await helper.begin()
  } finally {
    await helper.stop()
  }
}
