/** A worker on Kafka: one transactional producer and one static member of the group, as one; made by `broker.ts`. */
import assert from 'node:assert/strict'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Producer, Worker, WorkerOptions } from '../broker.ts'
import { committedOffsets } from './committed-offsets.ts'
import { askCoordinator } from './coordinator-calls.ts'
import { offsetCommitRequest } from './group-requests.ts'
import { createMembership } from './membership.ts'
import { createProducer } from './producer.ts'
import { refusal, superseded } from './refusal.ts'
import { createRetryBudget } from './retry-budget.ts'
import { transactionalIdOf } from './transactional-ids.ts'
import { createTransactor, type TransactorConnections } from './transactor.ts'

/**
 * Takes over the transactional id first, so that a former self of the same name is refused before the group is joined.
 *
 * What a rejected `transact` means for this worker: after `rebalance` it is used further by joining again, after
 * `transaction_aborted` by doing the batch again. After `fenced` it is over: every later call of `transact` is
 * refused with `fenced`, and the caller closes it and makes a new one. `superseded` says that the name is another's. The same
 * follows after a `transaction_aborted` that left it unknown which records were written. `kafka_unreachable` says
 * that the answer to the commit was lost: close the worker, make a new one and see in `committed` whether it
 * happened; a `fenced` can hide the same, where the answer to a commit was lost before. Records without offsets are
 * fenced by the producer epoch and by what this worker knows of its membership; only offsets make the group's
 * coordinator check the generation.
 */
export async function createWorker(
  connections: TransactorConnections,
  options: WorkerOptions,
  nowMs: () => number,
): Promise<Worker> {
  const { group, worker, transactionTimeoutMs } = options
  const transactionalId = transactionalIdOf(group, worker)
  const transactor = await createTransactor(connections, {
    transactionalId,
    group,
    worker,
    transactionTimeoutMs,
    nowMs,
  })
  const membership = createMembership(connections.offsets, options)
  /** For what is written outside transactions; it has numbers of its own. */
  let producer: Producer | null = null
  let closing: Promise<void> | null = null

  return {
    owner: `${transactor.identity.id}:${transactor.identity.epoch}`,
    join: membership.join,
    isCurrent: membership.isCurrent,
    committed: (partitions) => committedOffsets(connections.offsets, group, partitions, transactionTimeoutMs),
    async transact(records, offsets, held) {
      if (offsets.length === 0 && records.length > 0 && !membership.isHeld(held)) {
        throw new PipelineError(
          'rebalance',
          `"${worker}" no longer holds generation ${held.generation} of group ${group}`,
          {
            details: { group, worker, generation: held.generation },
          },
        )
      }
      try {
        await transactor.transact(records, offsets, held)
      } catch (error) {
        // By its epoch alone a producer does not know whether its transaction timed out or another process took its name.
        const isRefused = error instanceof PipelineError && error.code === 'fenced' && error.details.error !== undefined
        if (isRefused && (await membership.isSuperseded())) throw superseded(options)
        throw error
      }
    },
    async publish(records) {
      producer ??= createProducer(connections.records, nowMs)
      await producer.send(records)
    },
    async commitOffsets(offsets, held) {
      assert(held.generation >= 0, 'a commit without generation would be accepted from anyone')
      const error = await askCoordinator(connections.offsets, {
        kind: 'group',
        key: group,
        request: offsetCommitRequest({ group, instanceId: worker }, held, offsets),
        errorOf: (answer) => answer,
        retryBudget: createRetryBudget(transactionTimeoutMs, 1.5, 20),
      })
      if (error !== 'NONE') throw refusal({ transactionalId, group, worker }, 'OffsetCommit', error)
    },
    leave: membership.leave,
    close() {
      membership.stop()
      closing ??= Promise.all([connections.records.close(), connections.offsets.close()]).then(() => undefined)
      return closing
    },
  }
}
