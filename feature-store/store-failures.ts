/**
 * Errors of both stores: invalid steps (our mistake), a fence with another owner or position, state of something
 * else.
 */
import assert from 'node:assert/strict'
import { PipelineError } from '../schemas/kernel/errors.ts'
import { storedShape } from '../schemas/plan/state-shape.ts'
import { stateDifference } from './state-difference.ts'
import { type StateIdentity, type Step, storeKeysMax } from './store.ts'
import { storedLayout } from './stored-log.ts'

/** `customer/3`: a task in messages. */
export function taskName(entity: string, partition: number): string {
  return `${entity}/${partition}`
}

export function assertStep(step: Step): void {
  const { logs } = step.writes
  assert(logs <= storeKeysMax, `a step writes at most ${storeKeysMax} logs, not ${logs}`)
  assert(step.from !== '' && step.to !== '', 'a position is never empty text')
  // A step is recognised as applied by where it leads.
  assert(step.from !== step.to, `a step must lead to another position than ${step.from}`)
}

/** Facts are gone: the state of the task is marked, and its next owner restores it from Kafka. */
export function damagedState(task: string, found: string, details: Readonly<Record<string, unknown>>): PipelineError {
  return new PipelineError(
    'state_lost',
    `The stored state of task ${task} is damaged: ${found}. Facts were deleted, evicted or cut off by someone other than its owner; ` +
      'the task drops its state and restores it from Kafka.',
    { details: { task, ...details } },
  )
}

/** Somebody, or a crash of the server, put facts back that this owner did not expect. */
export function longerLog(task: string, found: number, expected: number): PipelineError {
  return new PipelineError(
    'state_lost',
    `A stored log of task ${task} has ${found} bytes, expected ${expected}: drop the local state and claim again.`,
    { details: { task, found, expected } },
  )
}

/** Null when owner and position are as expected. A missing token was deleted, not taken over. */
export function fenceRejection(
  task: string,
  expected: { readonly owner: string; readonly position: string | null },
  found: { readonly owner: string | null; readonly position: string | null },
): PipelineError | null {
  const details = { task, expected, found }
  if (found.owner !== null && found.owner !== expected.owner) {
    return new PipelineError('fenced', `Task ${task} was taken over by ${found.owner}; ${expected.owner} is refused.`, {
      details,
    })
  }
  if (found.owner === null || found.position !== expected.position) {
    const state =
      found.owner === null ? 'holds no owner token any more' : `is at ${found.position ?? 'no position at all'}`
    return new PipelineError(
      'state_lost',
      `The store ${state} for task ${task}, expected position ${expected.position ?? 'none'}: ` +
        'drop the local state and claim again.',
      { details },
    )
  }
  return null
}

/** The identity as it is stored and compared; the shape is stored beside it. */
export function identityText({ clusterId, stateFingerprint, partitions, hashKey }: StateIdentity): string {
  return JSON.stringify({ clusterId, stateFingerprint, partitions, hashKey, layout: storedLayout })
}

/** What `identityText` was made from. Throws `state_foreign` for any other text. */
export function identityOf(text: string, shape: string | null): StateIdentity {
  try {
    // Versions before the second layout wrote none.
    const found = JSON.parse(text) as Partial<StateIdentity>
    const { clusterId, stateFingerprint, partitions, hashKey, layout = 1 } = found
    if (clusterId !== undefined && stateFingerprint !== undefined && partitions !== undefined) {
      const stored = storedShape(shape, stateFingerprint)
      return {
        clusterId,
        stateFingerprint,
        partitions,
        ...(hashKey === undefined ? {} : { hashKey }),
        ...(layout === storedLayout ? {} : { layout }),
        ...(stored === null ? {} : { shape: stored }),
      }
    }
  } catch (cause) {
    throw unknownIdentity(text, cause)
  }
  throw unknownIdentity(text)
}

function unknownIdentity(text: string, cause?: unknown): PipelineError {
  return new PipelineError(
    'state_foreign',
    `The stored state says that it belongs to ${text}, which is no identity of Millrace's.`,
    { cause },
  )
}

/** What is stored of a task's identity. */
export interface StoredIdentity {
  readonly identity: string | null
  readonly shape: string | null
}

export function foreignState(task: string, expected: StateIdentity, found: StoredIdentity): PipelineError {
  const difference = found.identity === null ? null : stateDifference(identityOf(found.identity, found.shape), expected)
  const details = { task, expected: identityText(expected), found: found.identity, difference }
  return new PipelineError(
    'state_foreign',
    `The stored state of task ${task} belongs to ${found.identity ?? 'nobody known'}, expected ${details.expected}` +
      `${difference === null ? '' : `: ${difference}`}. ` +
      'Start with the definition and cluster it belongs to, with another namespace, or with --rebuild.',
    { details },
  )
}
