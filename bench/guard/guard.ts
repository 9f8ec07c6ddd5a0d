/**
 * `npm run bench -- --guard`: events per CPU-second without servers, as a multiple of what a calibration loop of the same process does,
 * beside a committed reference. Says which figure has become worse. Called by `main.ts`.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { cardFraud } from '../environment.ts'
import type { GuardOrder, GuardRound } from '../guard-process.ts'
import { startHelper } from '../helper-process.ts'
import { type Spread, spread } from '../statistics.ts'

/** Events for one step of the calibration, by Node's major version with the processor's architecture, then by job. */
export type GuardReference = Readonly<Record<string, Readonly<Record<string, number>>>>

export interface GuardFigure {
  readonly job: string
  readonly eventsPerCpuSecond: Spread
  /** Events for one step of the calibration. */
  readonly ratio: Spread
}

const jobs = [
  { job: 'card-fraud', definition: cardFraud },
  { job: 'w1', definition: 'bench/w1.ts' },
  { job: 'w2', definition: 'bench/w2.ts' },
] as const

const rounds = 21
const seed = 1
/** A ratio may be this much of the reference less. */
export const lossMax = 0.15
const referenceFile = new URL('reference.json', import.meta.url)

/** What is compared with each other: a compiler and a processor of one kind. */
const platform = `node${process.versions.node.split('.')[0]}-${process.arch}`

/** Resolves with whether every figure is good enough; with `isUpdate` they become the reference. */
export async function runGuard(isUpdate: boolean, printLine: (line: string) => void): Promise<boolean> {
  const reference = JSON.parse(await readFile(referenceFile, 'utf8')) as GuardReference
  const figures: GuardFigure[] = []
  for (const { job, definition } of jobs) {
    const measured = async () => {
      const figure = guardFigure(job, await measure({ definition, seed, rounds }))
      printLine(figureText(figure))
      return figure
    }
    const first = await measured()
    // A neighbour that takes the cache makes figures worse, never better: what looks bad is measured once more.
    const isBad = !isUpdate && lossesOf([first], reference, platform).length > 0
    figures.push(isBad ? better(first, await measured()) : first)
  }
  if (isUpdate) {
    const own = Object.fromEntries(figures.map(({ job, ratio }) => [job, ratio.median]))
    await writeFile(referenceFile, `${JSON.stringify({ ...reference, [platform]: own }, null, 2)}\n`)
    printLine(`The reference of ${platform} is written: commit bench/guard/reference.json.`)
    return true
  }
  const losses = lossesOf(figures, reference, platform)
  for (const loss of losses) printLine(loss)
  if (losses.length === 0) printLine(`No figure is more than ${lossMax * 100} % below the reference of ${platform}.`)
  return losses.length === 0
}

const better = (one: GuardFigure, other: GuardFigure) => (other.ratio.median > one.ratio.median ? other : one)

function figureText({ job, eventsPerCpuSecond, ratio: { min, median, max } }: GuardFigure): string {
  const perSecond = Math.round(eventsPerCpuSecond.median).toLocaleString('en-US')
  return `${job}: ${perSecond} events a CPU-second; ${min} / ${median} / ${max} events for a step of the calibration`
}

async function measure(order: GuardOrder): Promise<readonly GuardRound[]> {
  const helper = await startHelper<GuardOrder, readonly GuardRound[]>('guard-process.ts', order)
  try {
    return await helper.begin()
  } finally {
    await helper.stop()
  }
}

/** Pure. Ratios are made within a round, so that a busy moment hits both sides. */
export function guardFigure(job: string, measured: readonly GuardRound[]): GuardFigure {
  return {
    job,
    eventsPerCpuSecond: spread(measured.map(({ eventsPerCpuSecond }) => eventsPerCpuSecond)),
    ratio: spread(measured.map((round) => round.eventsPerCpuSecond / round.stepsPerCpuSecond)),
  }
}

/** Pure: a sentence for each figure that is too bad. Throws `usage` where there is nothing to compare with. */
export function lossesOf(figures: readonly GuardFigure[], reference: GuardReference, platform: string): string[] {
  const own = reference[platform]
  return figures.flatMap(({ job, ratio }) => {
    const expected = own?.[job]
    if (expected === undefined) {
      const known = Object.keys(reference).join(', ') || 'none'
      throw new PipelineError(
        'usage',
        `The guard has no reference for ${job} of ${platform} (there are: ${known}). Write it on a revision that is good: ` +
          'npm run bench -- --guard --update',
      )
    }
    const share = ratio.median / expected
    if (share >= 1 - lossMax) return []
    return [
      `WORSE: events per CPU-second of ${job}, against the calibration: ${ratio.median}, where the reference of ${platform} is ` +
        `${expected}: ${Math.round((1 - share) * 100)} % less, and ${lossMax * 100} % are allowed.`,
    ]
  })
}
