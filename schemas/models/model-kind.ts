/** What a definition and the registry need to know of a kind of model. Every kind implements it; `models.ts` lists them. */
import type { Parts, Report } from '../kernel/report.ts'

export interface ModelKind {
  /** How a definition requests it, such as `mlp()`. */
  readonly builder: string
  /** The names of its options, which its plan holds beside `kind`. */
  readonly options: readonly string[]
  /** Reports every mistake of a plan of this kind. */
  check(model: Parts, report: Report): void
  /** Avro types of the fields of its weights, in the order in which they are written; nested records are named in `namespace`. */
  weightsFields(namespace: string): Readonly<Record<string, unknown>>
}

export const listOf = (items: unknown) => ({ type: 'array', items }) as const
