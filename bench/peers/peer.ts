/**
 * What another engine is to the bench: where its sources lie, how they are built and how one run of it is started; a run is over when its
 * process ends. The families (`jvm.ts`, `floor.ts`) say so, `build-peer.ts` and `peer-job.ts` carry it out.
 */

/** The jobs that peers do beside ours. */
export const peerWorks = ['w1', 'w2'] as const
export type PeerWork = (typeof peerWorks)[number]

export interface Peer {
  readonly name: string
  /** One line, for the report. */
  readonly measures: string
  readonly works: readonly PeerWork[]
  readonly family: PeerFamily
  /** The process of one run; it ends by itself, with exit code 0, when all events are done. Or a sentence: why it cannot run here. */
  command(run: PeerRun): PeerCommand | string
  /** Where the event's id, an Avro string, begins in the value of an output. */
  readonly idAt: number
  /** Topics that have to be there, with the partitions of the source; the others are the peer's own to create. */
  topics(run: PeerRun): readonly string[]
}

/** Peers that are built together. */
export interface PeerFamily {
  /** Below the folder of the peers. */
  readonly folder: string
  /** Names that are not sources. */
  readonly leftOut: ReadonlySet<string>
  /** Run one after the other in a copy of the folder. */
  readonly build: readonly PeerCommand[]
}

export interface PeerCommand {
  readonly file: string
  readonly args: readonly string[]
  readonly environment: Readonly<Record<string, string>>
}

/** One run of a peer. */
export interface PeerRun {
  readonly work: PeerWork
  readonly events: number
  /** `host:port,…` */
  readonly kafkaBrokers: string
  readonly redisUrl: string
  readonly partitions: number
  /** Of this run alone; what it names in Kafka and Redis begins with it. */
  readonly id: string
  /** Topic of the events: keys as ours, values in bare Avro. */
  readonly source: string
  readonly output: string
  /** What was built. */
  readonly folder: string
  /** Empty, and removed after the run. */
  readonly stateFolder: string
  readonly timeoutMs: number
}
