/**
 * From a pipeline, an entity and a partition to the Redis keys of that task: the only place where keys are made. The
 * Redis store calls it.
 */
import assert from 'node:assert/strict'

export interface TaskKeys {
  /** Token of the process that may write. */
  readonly owner: string
  /** Position of the logs. */
  readonly position: string
  /** What the state belongs to (`StateIdentity` as JSON). */
  readonly identity: string
  /** What the fingerprint in the identity is of, to say in words what another definition has otherwise (`state-shape.ts`). */
  readonly shape: string
  /** Glob pattern that every tail and chunk of the task matches, and no other key. */
  readonly logPattern: string
  /** Before the key of the entity: the tail of its log. */
  readonly tailPrefix: string
  /** Before the number of a chunk, a colon and the key of the entity, whatever characters that has. */
  readonly chunkPrefix: string
}

/**
 * All keys of a task carry the hash tag `{<namespace><pipeline>.<entity>.<partition>}`, so that in a Redis Cluster they
 * share a slot and one script reaches them all. `namespace` may be empty.
 */
export function taskKeys(namespace: string, pipeline: string, entity: string, partition: number): TaskKeys {
  const name = `${namespace}${pipeline}.${entity}.${partition}`
  // A brace inside would end the tag early and spread the task over slots.
  assert(!/[{}]/.test(name), `a key name may not hold a brace: ${name}`)
  assert(Number.isInteger(partition) && partition >= 0)
  const tag = `{${name}}`
  return Object.freeze({
    owner: `${tag}:owner`,
    position: `${tag}:position`,
    identity: `${tag}:identity`,
    shape: `${tag}:shape`,
    // The other keys begin with other letters.
    logPattern: `${escapePattern(`${tag}:`)}[lc]*`,
    tailPrefix: `${tag}:log:`,
    chunkPrefix: `${tag}:chunk:`,
  })
}

/** Matches the tails and chunks of all tasks of a pipeline, and of pipelines whose names begin like its own and a dot. */
export function pipelineLogPattern(namespace: string, pipeline: string): string {
  return `{${escapePattern(`${namespace}${pipeline}`)}.*}:[lc]*`
}

function escapePattern(text: string): string {
  return text.replace(/[\\*?[\]]/g, '\\$&')
}
