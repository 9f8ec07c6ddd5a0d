/**
 * A training store of an earlier definition into one of this: rows stay, and features that the earlier one had not, or that meant something
 * else there, are missing in them. Called when a store is opened; nothing of Kafka is read again, since retention may have removed labels
 * that the rows still have.
 */
import type { Session } from './database.ts'
import { columnsOf, type Layout } from './layout.ts'

/** Name and identity of each feature, in order. */
export type Meanings = ReadonlyArray<readonly [string, string]>

/** How many of the features mean the same. */
export function sharedFeatures(before: Meanings, after: Meanings): number {
  const known = new Map(before)
  return after.filter(([name, identity]) => known.get(name) === identity).length
}

/** In the transaction of the caller, who says in `about` what the store is of now. */
export async function migrate(session: Session, before: Meanings, after: Meanings, layout: Layout): Promise<void> {
  const columns = columnsOf(before.map(([name]) => name))
  const columnOf = new Map(before.map(([name, identity], i) => [`${name} ${identity}`, `"${columns[i]}"`]))
  const vector = after.map(([name, identity]) => columnOf.get(`${name} ${identity}`) ?? 'NULL')
  await session.run('DROP VIEW training_rows')
  for (const { name, columns: others, create } of layout.tables) {
    await session.run(`ALTER TABLE ${name} RENAME TO ${name}_before`)
    await session.run(create)
    await session.run(`INSERT INTO ${name} SELECT ${[...others, ...vector].join(', ')} FROM ${name}_before`)
    await session.run(`DROP TABLE ${name}_before`)
  }
  await session.run(layout.view)
  // Of consumers that have learnt from the rows as they were: they learn from all of them again.
  await session.run('DELETE FROM states WHERE up_to > 0')
}
