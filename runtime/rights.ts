/**
 * Every right that Millrace needs of Kafka's access control lists and of a user of Redis, with the commands that need it: the claim of a
 * task checks those of Redis, docs/security.md prints both, and a test on secured servers gives exactly these.
 */

export interface KafkaRight {
  readonly resource: 'topic' | 'group' | 'transactional id'
  readonly operation: 'Read' | 'Write' | 'Create' | 'Alter' | 'AlterConfigs' | 'DescribeConfigs'
  readonly neededBy: readonly string[]
}

export interface RedisRight {
  readonly command: string
  readonly neededBy: readonly string[]
}

/** Read and Write bring Describe with them. */
export const kafkaRights = [
  {
    resource: 'topic',
    operation: 'Read',
    neededBy: [
      'run',
      'produce',
      'train',
      'trainer',
      'data',
      'audit',
      'recompute',
      'doctor',
      'topics',
      'plan',
      'tail',
      'models',
      'rejected',
    ],
  },
  {
    resource: 'topic',
    operation: 'Write',
    neededBy: [
      'run',
      'produce',
      'train',
      'trainer',
      'models promote',
      'models dismiss',
      'models rollback',
      'models import',
      'rejected replay',
    ],
  },
  { resource: 'topic', operation: 'Create', neededBy: ['run --create-topics', 'topics --create'] },
  { resource: 'topic', operation: 'Alter', neededBy: ['topics --alter'] },
  { resource: 'topic', operation: 'AlterConfigs', neededBy: ['topics --alter'] },
  { resource: 'topic', operation: 'DescribeConfigs', neededBy: ['run', 'doctor', 'topics', 'plan', 'rejected replay'] },
  { resource: 'group', operation: 'Read', neededBy: ['run', 'produce', 'audit', 'doctor', 'workers'] },
  { resource: 'transactional id', operation: 'Write', neededBy: ['run', 'produce', 'workers remove'] },
] as const satisfies readonly KafkaRight[]

/** AUTH, HELLO and QUIT are everybody's. A database number in REDIS_URL takes SELECT as well. */
export const redisRights = [
  { command: 'eval', neededBy: ['run'] },
  { command: 'get', neededBy: ['run'] },
  { command: 'mget', neededBy: ['run', 'doctor', 'plan'] },
  { command: 'set', neededBy: ['run'] },
  { command: 'append', neededBy: ['run'] },
  { command: 'del', neededBy: ['run'] },
  { command: 'scan', neededBy: ['run'] },
  { command: 'info', neededBy: ['run', 'doctor', 'plan'] },
  { command: 'ping', neededBy: ['run', 'doctor', 'plan'] },
] as const satisfies readonly RedisRight[]
