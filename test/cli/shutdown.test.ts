/** Parts that are closed once a command has done its work. */
import { expect, test } from 'vitest'
import { closedAfter, createShutdown } from '../../cli/shutdown.ts'

const fails = (message: string) => () => Promise.reject(new Error(message))

test('all parts are closed after the work, whatever became of it, and the first failure is told', async () => {
  const outcomeOf = async (work: () => Promise<number>, close: () => Promise<unknown>) => {
    const shutdown = createShutdown()
    let closed = 0
    shutdown.add('first', async () => void closed++)
    shutdown.add('second', close)
    const outcome = await closedAfter(shutdown, 1_000, work).catch((error: Error) => error.message)
    return [outcome, closed]
  }
  expect(
    await outcomeOf(
      async () => 7,
      async () => undefined,
    ),
  ).toEqual([7, 1])
  expect(await outcomeOf(async () => 7, fails('it stays open'))).toEqual(['it stays open', 1])
  expect(await outcomeOf(fails('no work'), fails('it stays open'))).toEqual(['no work', 1])
})
