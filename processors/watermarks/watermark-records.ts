/** A watermark record in, its bytes for every partition of the next stage out. Pure; called by the progress exchange. */
import type { OutRecord } from '../../runtime/broker.ts'
import type { CanonicalPosition } from '../../schemas/kernel/canonical-order.ts'
import { instantMin } from '../../schemas/kernel/instant.ts'
import type { RepartitionPlan } from '../../schemas/plan/plan.ts'
import type { WatermarkRecord } from '../../schemas/wire/records.ts'

const beforeAll = instantMin - 1

export function watermarkRecords(
  repartition: RepartitionPlan,
  watermark: WatermarkRecord,
  partitions: number,
): OutRecord[] {
  // Before its first event a task has passed nothing, and an infinite time cannot be written: this one is before every event.
  const value = repartition.codec.encode({
    ...watermark,
    sources: watermark.sources.map((source) => ({
      ...source,
      watermark: Math.max(beforeAll, source.watermark),
      retentionWatermark:
        source.retentionWatermark !== null && source.retentionWatermark > beforeAll ? source.retentionWatermark : null,
      idleUpTo: source.idleUpTo && dated(source.idleUpTo),
    })),
    observed: watermark.observed.map(dated),
  })
  return Array.from({ length: partitions }, (_, to) => ({ topic: repartition.topic, partition: to, key: null, value }))
}

function dated({ time, order }: CanonicalPosition): CanonicalPosition {
  return { time: Math.max(beforeAll, time), order }
}
