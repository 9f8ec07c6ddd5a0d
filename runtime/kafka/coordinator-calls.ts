/**
 * Asks a coordinator: finds it, follows it when it moves, and retries transient errors within a budget; used by
 * everything that concerns groups and transactions.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { CoordinatorKind } from './cluster-requests.ts'
import type { Connections } from './connections.ts'
import { type KafkaError, staleCoordinator } from './error-codes.ts'
import type { KafkaRequest } from './request.ts'
import type { RetryBudget } from './retry-budget.ts'

export interface CoordinatorCall<T> {
  readonly kind: CoordinatorKind
  readonly key: string
  readonly request: KafkaRequest<T>
  readonly errorOf: (answer: T) => KafkaError
  /** Further errors to retry. */
  readonly transient?: ReadonlySet<KafkaError>
  readonly retryBudget: RetryBudget
}

/**
 * The first answer that a retry would not change; its error is the caller's to interpret. When the budget is spent: the
 * last answer, or `kafka_unreachable`.
 */
export async function askCoordinator<T>(connections: Connections, call: CoordinatorCall<T>): Promise<T> {
  const { kind, key, retryBudget } = call
  for (;;) {
    try {
      const nodeId = await connections.coordinator(kind, key)
      const answer = await connections.send(nodeId, call.request)
      const error = call.errorOf(answer)
      if (staleCoordinator.has(error)) connections.forgetCoordinator(kind, key)
      else if (call.transient?.has(error) !== true) return answer
      if (!(await retryBudget.again())) return answer
    } catch (error) {
      if (!(error instanceof PipelineError) || error.code !== 'kafka_unreachable') throw error
      connections.forgetCoordinator(kind, key)
      if (connections.isClosed() || !(await retryBudget.again())) throw error
    }
  }
}
