/**
 * Tests of the simulation: the loop with one thing wrong in it. Each mutation replaces text that must be in its file exactly once, so that
 * one that no longer fits the code fails instead of passing. Run by `mutate.ts`.
 */

export interface Edit {
  readonly file: string
  readonly find: string
  readonly replace: string
}

export interface Mutation {
  readonly name: string
  readonly edits: readonly Edit[]
  /** Changes nothing that matters: the simulation must find nothing. */
  readonly isHarmless?: true
}

const batchLoop = 'processors/batch/batch-loop.ts'
const publishStep = 'processors/batch/publish.ts'
const memoryWorker = 'runtime/memory/worker.ts'

/** Entities leave the cache after every batch instead of after 64: scenarios are short. */

/**
 * Two protections against the same error: a task's new owner reads the committed offsets while a transaction of the former owner, which is
 * open, continues to commit later ones. Each is enough by itself, so that only both together are found.
 *
 * Ending the transactions of workers that are no longer in the group closes the window before the new owner can read. A task changes its
 * owner at a rebalance only. The former owner has then either joined again, which it does after its transaction has ended, or was expelled:
 * `join` aborts what it had open before it returns the assignment to anybody. And a new process under the same name aborts the open
 * transaction of the one before when it takes over the transactional id. So no task is opened while a transaction on its offsets is open.
 *
 * Waiting for stable offsets is enough, too: the new owner waits until the transaction has been committed or has timed out, and then reads
 * what counts. It only waits for longer.
 *
 * On Kafka both are needed: the leader of the group ends abandoned transactions only after it has listed them, another member may have its
 * assignment and read offsets before that, and markers reach the offsets topic after the transaction was ended. There `requireStable` is
 * what protects the offsets.
 */
const readsUnstableOffsets: Edit = {
  file: memoryWorker,
  find: '    if (partitions.some((at) => transactions.isUnstable(group, at))) return null\n',
  replace: '',
}
const leavesTransactionsOpen: Edit = {
  file: memoryWorker,
  find: '  transactions.endAbandoned(options.group, group.names())\n',
  replace: '',
}

export const mutations: readonly Mutation[] = [
  {
    name: 'apply before commit',
    edits: [
      {
        file: batchLoop,
        find: "  await measured(loop, 'publish', () => publish(loop, publication))\n",
        replace: "  await apply(steps)\n  await measured(loop, 'publish', () => publish(loop, publication))\n",
      },
    ],
  },
  {
    name: 'no token check in the store',
    edits: [
      {
        file: 'feature-store/store-failures.ts',
        find: 'if (found.owner !== null && found.owner !== expected.owner) {',
        replace: 'if (Number(task) === 0) {',
      },
      {
        file: 'feature-store/store-failures.ts',
        find: 'if (found.owner === null || found.position !== expected.position) {',
        replace: 'if (found.position !== expected.position) {',
      },
      {
        file: 'feature-store/memory-store.ts',
        find: 'found.owner === owner && found.position === step.to',
        replace: 'found.position === step.to',
      },
    ],
  },
  {
    name: 'position read apart from state',
    edits: [
      {
        file: 'feature-store/memory-store.ts',
        find: 'const state = assertFence(sent)',
        replace: 'const state = currentState()',
      },
    ],
  },
  {
    name: 'offset + 1',
    edits: [
      {
        file: 'processors/batch/task-position.ts',
        find: 'return { ...(resumeOf(input) ?? { resumeOffset: nextOffset, maxEventTime }), nextOffset }',
        replace:
          'return { ...(resumeOf(input) ?? { resumeOffset: nextOffset + 1, maxEventTime }), nextOffset: nextOffset + 1 }',
      },
    ],
  },
  {
    name: 'offset - 1',
    edits: [
      {
        file: 'processors/batch/task-position.ts',
        find: 'return { ...(resumeOf(input) ?? { resumeOffset: nextOffset, maxEventTime }), nextOffset }',
        replace:
          'const resume = resumeOf(input) ?? { resumeOffset: Math.max(0, nextOffset - 1), maxEventTime }\n      return { ...resume, nextOffset: Math.max(resume.resumeOffset, nextOffset - 1) }',
      },
    ],
  },
  {
    name: 'alignment off',
    edits: [
      {
        file: 'processors/watermarks/source-progress.ts',
        find: 'for (let i = 0; i < sources.length; i++) if (!hasPassed(state, i, event, nowMs)) return i\n',
        replace: '',
      },
    ],
  },
  {
    name: 'no barrier before dropped events',
    edits: [
      {
        file: 'processors/batch/overflow.ts',
        find: 'alignment.setBarrier(firstDropped(inputs))',
        replace: 'if (!inputs) alignment.setBarrier(firstDropped(inputs))',
      },
    ],
  },
  {
    name: 'dropped events do not hold the position back',
    edits: [
      {
        file: 'processors/batch/task-input.ts',
        find: 'for (const range of [input.refill, input.dropped[0]]) {',
        replace: 'for (const range of [input.refill, input.dropped[0]].slice(2)) {',
      },
    ],
  },
  {
    name: 'generation -1',
    edits: [{ file: memoryWorker, find: '    checkMembership(state, membership)\n', replace: '' }],
  },
  {
    name: 'unpinned cache',
    edits: [{ file: 'processors/batch/entity-cache.ts', find: 'usedBy !== batch)', replace: 'usedBy !== batch + 1)' }],
  },
  {
    name: 'a torn step counts twice',
    edits: [
      {
        file: 'feature-store/stored-log.ts',
        find: '    if (index > 0 && compare(rowNumbers[index - 1]!, rowNumber) === 0) return\n',
        replace: '',
      },
      {
        file: 'feature-store/stored-log.ts',
        find: 'compare(arranged - 1, arranged) < 0',
        replace: 'compare(arranged - 1, arranged) <= 0',
      },
    ],
  },
  {
    name: 'restore publishes',
    edits: [
      {
        file: publishStep,
        find: '    if (active.batch.isRestore) continue\n',
        replace: '',
      },
    ],
  },
  {
    name: 'no restore',
    edits: [
      {
        file: 'processors/recovery/open-task.ts',
        find: 'const restoreTo = isAhead(target, start) ? target : null',
        replace: 'const restoreTo = isAhead(target, start) && plan.version < 0 ? target : null',
      },
    ],
  },
  {
    name: 'cache kept over a rebalance',
    edits: [
      {
        file: 'processors/recovery/open-task.ts',
        find: 'cache: createEntityCache(stage.entity.layout, { rowsMax: limits.cacheRowsMax }),',
        replace: 'cache: keptCache(options),',
      },
      {
        file: 'processors/recovery/open-task.ts',
        find: 'function offsetsOf(position: TaskPosition): string {',
        replace:
          'const kept = new WeakMap<Worker, Map<string, ReturnType<typeof createEntityCache>>>()\n' +
          'function keptCache({ worker, stage, partition, limits }: OpenTaskOptions) {\n' +
          '  const ofWorker = kept.get(worker) ?? new Map<string, ReturnType<typeof createEntityCache>>()\n' +
          '  kept.set(worker, ofWorker)\n' +
          "  const name = [stage.entity.name, partition].join(' ')\n" +
          '  const cache = ofWorker.get(name) ?? createEntityCache(stage.entity.layout, { rowsMax: limits.cacheRowsMax })\n' +
          '  ofWorker.set(name, cache)\n' +
          '  return cache\n' +
          '}\n' +
          'function offsetsOf(position: TaskPosition): string {',
      },
    ],
  },
  {
    name: 'dead letters dropped',
    edits: [
      { file: publishStep, find: 'deadLetterRecords(options, rejections)', replace: 'deadLetterRecords(options, [])' },
    ],
  },
  {
    name: 'watermarks before their events',
    edits: [
      {
        file: publishStep,
        find:
          '  for (const { exchange, update, context } of updates) {\n' +
          '    for (const record of exchange.report(update, context)) addToOutbox(outbox, record)\n' +
          '  }\n' +
          '  return { records: takeOut(outbox), offsets }\n',
        replace:
          '  const reports = updates.flatMap(({ exchange, update, context }) => exchange.report(update, context))\n' +
          '  return { records: [...reports, ...takeOut(outbox)], offsets }\n',
      },
    ],
  },
  {
    name: 'committed offsets read while a transaction on them is open',
    edits: [readsUnstableOffsets, leavesTransactionsOpen],
  },
  { name: 'committed offsets read without waiting for stable ones', isHarmless: true, edits: [readsUnstableOffsets] },
  { name: 'open transactions of expelled workers left open', isHarmless: true, edits: [leavesTransactionsOpen] },
  {
    name: 'positions read before the token is written',
    edits: [
      {
        file: 'processors/recovery/open-task.ts',
        find: '  const taskStore = await store.claim(',
        replace: '  const early = await checkedCommitted(options)\n  const taskStore = await store.claim(',
      },
      {
        file: 'processors/recovery/open-task.ts',
        find: '  const committed = await checkedCommitted(options)\n',
        replace: '  const committed = early\n',
      },
    ],
  },
]
