/** A worker on Kafka: one transactional producer and one static member of the group, as one; opened by `broker.ts`. */
import assert from 'node:assert/strict'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Worker, WorkerOptions } from '../broker.ts'
import { committedOffsets } from './committed-offsets.ts'
import { askCoordinator } from './coordinator-calls.ts'
import { offsetCommitRequest } from './group-requests.ts'
import { createMembership } from './membership.ts'
import { createProducer, type OutgoingProducer } from './producer.ts'
import { createRetryBudget } from './retry-budget.ts'
import { transactionalIdOf } from './transactional-ids.ts'
import { createTransactor, type TransactorConnections } from './transactor.ts'
import { superseded, workerError } from './worker-errors.ts'

/**
 * Takes over the transactional id first, so that a former process of the same name is fenced before the group is joined.
 *
 * What a rejected `transact` means for this worker: after `rebalance` it joins again, after `transaction_aborted` the
 * batch is repeated. After `fenced` it is over: every later call of `transact` is rejected with `fenced`, and the caller
 * closes it and opens a new one; so it is after a `transaction_aborted` that left it unknown which records were written.
 * `superseded` means that another process has the name. `kafka_unreachable` means that the answer to the commit was
 * lost: close the worker, open a new one and read from `committed` whether it happened; a `fenced` can have the same
 * cause, where the answer to an earlier commit was lost. Records without offsets are fenced by the producer epoch and by
 * this worker's own knowledge of its membership; only offsets make the group's coordinator check the generation.
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
  /** For writes outside transactions; it has sequence numbers of its own. */
  let producer: OutgoingProducer | null = null
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
        // The error alone does not distinguish a transaction that timed out from another process that took over the name.
        const isFenced = error instanceof PipelineError && error.code === 'fenced' && error.details.error !== undefined
        if (isFenced && (await membership.isSuperseded())) throw superseded(options)
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
      if (error !== 'NONE') throw workerError({ transactionalId, group, worker }, 'OffsetCommit', error)
    },
    leave: membership.leave,
    close() {
      membership.stop()
      closing ??= Promise.all([connections.records.close(), connections.offsets.close()]).then(() => undefined)
      return closing
    },
  }
}
