/** The published table, made once for all test files of a thread, none of which writes to it. */
import { generateHandbook, type HandbookTable } from '../../pipelines/handbook.ts'

let table: HandbookTable | undefined

export function handbookTable(): HandbookTable {
  table ??= generateHandbook()
  return table
}
