/** The floor: a prototype of W1 in plain JavaScript, which leaves out what a product needs. One of the peers of `peer-job.ts`. */
import type { Peer, PeerRun } from './peer.ts'

/** Written into it. */
const partitions = 4
const kafkaPort = 19_092
const localHosts = new Set(['127.0.0.1', 'localhost'])

export const floor: Peer = {
  name: 'floor',
  measures:
    'A prototype in plain JavaScript, exactly once, facts in Redis after the commit; no groups, late events or dead letters.',
  works: ['w1'],
  family: {
    folder: 'floor',
    leftOut: new Set(['node_modules']),
    build: [{ file: 'npm', args: ['install', '--no-audit', '--no-fund', '--ignore-scripts'], environment: {} }],
  },
  // Behind the marker and the fingerprint of Avro's single objects.
  idAt: 10,
  // It creates its output topic.
  topics: () => [],
  command(run) {
    const [kafka, redis] = [new URL(`kafka://${run.kafkaBrokers.split(',')[0]}`), new URL(run.redisUrl)]
    const isLocal = [kafka, redis].every(({ hostname }) => localHosts.has(hostname))
    if (!isLocal || redis.protocol !== 'redis:') return 'it knows servers on 127.0.0.1 without TLS only'
    if (run.partitions !== partitions) return `it knows topics of ${partitions} partitions only, not ${run.partitions}`
    return {
      file: process.execPath,
      args: ['--import', redirected(kafkaPort, Number(kafka.port)), 'w1.js', ...argumentsOf(run, redis)],
      environment: {},
    }
  },
}

/** `keep`: the output is read once it has ended. The process ids are those of servers that it would watch too. */
function argumentsOf(run: PeerRun, redis: URL): string[] {
  const given = {
    facts: 4,
    keep: 1,
    in: run.source,
    out: run.output,
    redisport: redis.port || 6_379,
    kafkapid: 0,
    redispid: 0,
  }
  return Object.entries(given).map(([name, value]) => `${name}=${value}`)
}

/** A module that is loaded before it: it connects to a port of its own choice, and is to come out at the bench's Kafka. */
function redirected(from: number, to: number): string {
  const source = `import net from 'node:net'
const connect = net.connect
net.connect = (options, ...rest) => connect(options.port === ${from} ? { ...options, port: ${to} } : options, ...rest)`
  return `data:text/javascript,${encodeURIComponent(source)}`
}
