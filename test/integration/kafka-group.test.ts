/** What the group does on Kafka beyond the broker suite: roll-outs, and what Kafka's own tools see of it. */
import { AssignerProtocol, Kafka, logLevel } from 'kafkajs'
import { expect, inject, onTestFinished, test } from 'vitest'
import type { Membership, StageTopics, Worker } from '../../runtime/broker.ts'
import { createKafkaBroker } from '../../runtime/kafka/broker.ts'
import { unique } from '../conformance/broker.ts'

const brokers = inject('kafkaBrokers').split(',')

async function openGroup() {
  const broker = createKafkaBroker({ brokers, clientId: 'millrace-test' })
  onTestFinished(() => broker.close())
  const group = unique('group')
  return {
    group,
    async stage(name: string, partitions: number): Promise<StageTopics> {
      const topic = unique(name)
      await broker.admin.ensureTopics([{ topic, partitions, config: {} }])
      return { stage: name, topics: [topic], partitions }
    },
    worker: (name: string, stages: readonly StageTopics[]): Promise<Worker> =>
      broker.groups.worker({ group, worker: name, stages, sessionTimeoutMs: 6_000, transactionTimeoutMs: 10_000 }),
  }
}

async function noticed(worker: Worker, membership: Membership): Promise<void> {
  for (let tries = 0; tries < 100 && worker.isCurrent(membership); tries++) {
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  expect(worker.isCurrent(membership)).toBe(false)
}

function names(...memberships: Membership[]): string[] {
  return memberships.flatMap(({ tasks }) => tasks.map(({ stage, partition }) => `${stage}${partition}`)).sort()
}

test('a member that comes back with a new stage has it assigned, even beside a leader without it', async () => {
  const { stage, worker } = await openGroup()
  const [old, added] = [await stage('old', 3), await stage('added', 2)]
  const leader = await worker('l', [old])
  const alone = await leader.join()
  const follower = await worker('f', [old])
  const following = follower.join()
  await noticed(leader, alone)
  const [both, followed] = await Promise.all([leader.join(), following])
  expect(names(both, followed)).toEqual(['old0', 'old1', 'old2'])

  await follower.close()
  const upgraded = await worker('f', [old, added])
  const rejoining = upgraded.join()
  await noticed(leader, both)
  const [kept, got] = await Promise.all([leader.join(), rejoining])
  // Five tasks for two members; the one that does not know the new stage leaves its task of it alone until it is
  // upgraded too.
  expect(names(kept, got)).toEqual([expect.stringMatching(/^added[01]$/), 'old0', 'old1', 'old2'])

  await leader.close()
  const upgradedLeader = await worker('l', [old, added])
  const last = await upgradedLeader.join()
  expect(names(last, got)).toEqual(['added0', 'added1', 'old0', 'old1', 'old2'])
  expect(upgraded.isCurrent(got)).toBe(true)
})

test("Kafka's own view of the group names members, topics and partitions", async () => {
  const { group, stage, worker } = await openGroup()
  const stages = [await stage('a', 2), await stage('b', 2)]
  await (await worker('w', stages)).join()
  const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  onTestFinished(() => admin.disconnect())
  const { groups } = await admin.describeGroups([group])
  const [described] = groups
  expect([described!.state, described!.protocolType, described!.protocol]).toEqual([
    'Stable',
    'consumer',
    'millrace-tasks',
  ])
  expect(described!.members.length).toBe(1)
  const { assignment } = AssignerProtocol.MemberAssignment.decode(described!.members[0]!.memberAssignment)!
  expect(assignment).toEqual(Object.fromEntries(stages.map(({ topics }) => [topics[0], [0, 1]])))
  expect(AssignerProtocol.MemberMetadata.decode(described!.members[0]!.memberMetadata)!.topics).toEqual(
    stages.map(({ topics }) => topics[0]!).sort(),
  )
})
