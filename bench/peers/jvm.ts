/** Kafka Streams and Flink: one Maven project with a class for each, set by its environment. Two of the peers of `peer-job.ts`. */
import { delimiter, join } from 'node:path'
import type { Peer, PeerFamily, PeerRun } from './peer.ts'

const family: PeerFamily = {
  folder: 'jvm',
  leftOut: new Set(['target', 'out', 'state']),
  build: [
    { file: 'java', args: ['-version'], environment: {} },
    { file: 'mvn', args: ['-q', 'package'], environment: {} },
  ],
}

/** As they were measured before: a heap of 2 GB, errors only in the log. */
const javaOptions = ['-Xmx2g', '-Dorg.slf4j.simpleLogger.defaultLogLevel=error']

interface Engine {
  readonly module: string
  readonly mainClass: string
  /** Of a JVM that runs it. */
  readonly javaOptions: readonly string[]
  readonly store: string
}

const repartitionOf = ({ output }: PeerRun) => `${output}.rep`

function peer(name: string, measures: string, engine: Engine): Peer {
  return {
    name,
    measures,
    works: ['w1', 'w2'],
    family,
    idAt: 0,
    topics: (run) => [run.output, repartitionOf(run)],
    command(run) {
      const target = join(run.folder, engine.module, 'target')
      const classPath = [join(target, 'classes'), join(target, 'lib', '*')].join(delimiter)
      return {
        file: 'java',
        args: [...javaOptions, ...engine.javaOptions, '-cp', classPath, engine.mainClass],
        environment: {
          WORK: run.work,
          STORE: engine.store,
          THREADS: '1',
          GUARANTEE: 'eos',
          N: String(run.events),
          BROKER: run.kafkaBrokers,
          IN: run.source,
          OUT_TOPIC: run.output,
          REP_TOPIC: repartitionOf(run),
          APP: run.id,
          STATE_DIR: run.stateFolder,
          TIMEOUT_MS: String(run.timeoutMs),
        },
      }
    },
  }
}

export const kafkaStreams = peer(
  'kstreams',
  'Kafka Streams, exactly once every 100 ms, RocksDB with a record cache, one thread.',
  {
    module: 'kstreams',
    mainClass: 'peers.KStreamsPeer',
    javaOptions: [],
    store: 'rocksdb',
  },
)

export const flink = peer(
  'flink',
  'Flink in one JVM, exactly-once checkpoints each second, state on the heap, parallelism 1.',
  {
    module: 'flink',
    mainClass: 'peers.FlinkPeer',
    javaOptions: ['--add-opens=java.base/java.util=ALL-UNNAMED', '--add-opens=java.base/java.lang=ALL-UNNAMED'],
    store: 'hashmap',
  },
)
