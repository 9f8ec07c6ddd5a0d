/** A watermark record in, its bytes for every partition of the next stage out. Pure; called by the progress exchange. */
import type { OutRecord } from '../../runtime/broker.ts'
import type { CanonicalPosition } from '../../schemas/kernel/canonical-order.ts'
import type { RepartitionPlan } from '../../schemas/plan/plan.ts'
import type { WatermarkRecord } from '../../schemas/wire/records.ts'

export function watermarkRecords(
  repartition: RepartitionPlan,
  watermark: WatermarkRecord,
  partitions: number,
): OutRecord[] {
  // Before its first event a task has passed nothing, and time begins at 1970 for topics.
  const value = repartition.codec.encode({
    ...watermark,
    sources: watermark.sources.map((source) => ({
      ...source,
      watermark: Math.max(0, source.watermark),
      retentionWatermark:
        source.retentionWatermark !== null && source.retentionWatermark >= 0 ? source.retentionWatermark : null,
      idleUpTo: source.idleUpTo && dated(source.idleUpTo),
    })),
    observed: watermark.observed.map(dated),
  })
  return Array.from({ length: partitions }, (_, to) => ({ topic: repartition.topic, partition: to, key: null, value }))
}

function dated({ time, order }: CanonicalPosition): CanonicalPosition {
  return { time: Math.max(0, time), order }
}
