/**
 * Asks a coordinator with patience: looks it up, follows it when it moves, tries again what passes; used by workers.
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
  /** Further errors that pass by themselves. */
  readonly passing?: ReadonlySet<KafkaError>
  readonly retryBudget: RetryBudget
}

/**
 * The first answer that will not change by asking again, its error for the caller to judge. When patience ends: the
 * last such answer, or `kafka_unreachable`.
 */
export async function askCoordinator<T>(connections: Connections, call: CoordinatorCall<T>): Promise<T> {
  const { kind, key, retryBudget } = call
  for (;;) {
    try {
      const nodeId = await connections.coordinator(kind, key)
      const answer = await connections.send(nodeId, call.request)
      const error = call.errorOf(answer)
      if (staleCoordinator.has(error)) connections.forgetCoordinator(kind, key)
      else if (call.passing?.has(error) !== true) return answer
      if (!(await retryBudget.again())) return answer
    } catch (error) {
      if (!(error instanceof PipelineError) || error.code !== 'kafka_unreachable') throw error
      connections.forgetCoordinator(kind, key)
      if (connections.isClosed() || !(await retryBudget.again())) throw error
    }
  }
}
