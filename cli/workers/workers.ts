/**
 * `millrace workers list` and `workers remove`: who is in a pipeline's consumer group with which tasks, and how one that has gone for good
 * is taken out of it, without waiting for its session to end.
 */
import type { Broker, GroupView, Task } from '../../runtime/broker.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { nearestName } from '../../schemas/kernel/nearest-name.ts'
import { type CommandContext, sharedNames } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { loadPlan } from '../load-plan.ts'
import { tableLines } from '../terminal.ts'
import { writeFigures } from '../whole-file.ts'

export interface WorkersCommandOptions {
  readonly json?: string
}

type GroupCommand = (broker: Broker, group: string) => Promise<number>

export async function workersListCommand(
  definition: string,
  options: WorkersCommandOptions,
  context: CommandContext,
): Promise<number> {
  const { terminal } = context
  return await withGroup(definition, context, async (broker, group) => {
    const view = await broker.groups.describe(group)
    for (const line of lines(view, group)) terminal.out(line)
    await writeFigures(options.json, { group, ...view })
    return exitCodes.done
  })
}

export async function workersRemoveCommand(
  definition: string,
  worker: string,
  options: WorkersCommandOptions,
  context: CommandContext,
): Promise<number> {
  const { terminal, clock } = context
  return await withGroup(definition, context, async (broker, group) => {
    const { members } = await broker.groups.describe(group)
    const member = members.find((known) => known.worker === worker)
    if (!member) throw unknownWorker(worker, group, members)
    const beganMs = clock.elapsedMs()
    await broker.groups.removeWorker(group, worker)
    const tookMs = Math.round(clock.elapsedMs() - beganMs)
    const others = members.length - 1
    const successors =
      others === 0 ? 'There is no other worker: the tasks wait for the next start.' : 'The others take over.'
    terminal.out(
      `Removed ${worker} of group ${group} (${tookMs} ms). Its tasks: ${shownTasks(member.tasks)}. ${successors}`,
    )
    await writeFigures(options.json, { group, removed: member, tookMs })
    return exitCodes.done
  })
}

async function withGroup(definition: string, context: CommandContext, command: GroupCommand): Promise<number> {
  const { config } = context
  const plan = await loadPlan(definition, config)
  const broker = context.openBroker(config)
  try {
    return await command(broker, sharedNames(config, plan).group)
  } finally {
    await broker.close()
  }
}

function lines({ state, members }: GroupView, group: string): string[] {
  if (members.length === 0) return [`Group ${group} has no members.`]
  const sorted = [...members].sort((a, b) => (a.worker < b.worker ? -1 : 1))
  const rows = sorted.map(({ worker, host, tasks }) => [worker, host, shownTasks(tasks)])
  const moving = state === 'assigning' ? ['The group is rebalancing.'] : []
  return [...tableLines([['worker', 'host', 'tasks'], ...rows]), ...moving]
}

/** Such as "customer 0 2, terminal 1"; partitions by stage. */
function shownTasks(tasks: readonly Task[]): string {
  const partitions = new Map<string, number[]>()
  for (const { stage, partition } of tasks) partitions.set(stage, [...(partitions.get(stage) ?? []), partition])
  if (partitions.size === 0) return 'none'
  return [...partitions].map(([stage, list]) => `${stage} ${list.sort((a, b) => a - b).join(' ')}`).join(', ')
}

function unknownWorker(worker: string, group: string, members: GroupView['members']): PipelineError {
  const names = members.map(({ worker: name }) => name).sort()
  if (names.length === 0) return new PipelineError('usage', `Group ${group} has no members, so no worker "${worker}".`)
  const meant = names.length === 1 ? '' : ` Did you mean ${nearestName(worker, names)}?`
  return new PipelineError('usage', `Group ${group} has no worker "${worker}", but ${names.join(', ')}.${meant}`)
}
