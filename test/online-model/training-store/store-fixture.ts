/** A plan of two features, files that are removed after the test, and helpers for batches; only for the tests of the training store. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { LabelRow, PredictionRow } from '../../../online-model/training-store/apply.ts'
import {
  type Batch,
  type MatureRows,
  type OpenStoreOptions,
  openTrainingStore,
  type TrainingStore,
} from '../../../online-model/training-store/store.ts'
import type { PartitionRead } from '../../../online-model/training-store/watermark.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import { clicksPipeline, clicksStartMs } from '../../support/clicks.ts'

export const hourMs = 3_600_000
/** Six features; an event is mature after an hour. */
export const clicksPlan = compile(clicksPipeline())
export const startMs = clicksStartMs

/** A folder that is removed after the test. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'training-store-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

export async function openStore(options: Partial<OpenStoreOptions> = {}): Promise<TrainingStore> {
  const store = await openTrainingStore({ file: ':memory:', plan: clicksPlan, clusterId: 'here', ...options })
  onTestFinished(() => store.close())
  return store
}

/** The vector of the n-th event: its last feature is missing in every third. */
export function vectorOf(n: number): number[] {
  return [n, n / 3, -n, n * 1e9, 0.1 * n, n % 3 === 0 ? Number.NaN : n]
}

/** `seconds` after the start. */
export function prediction(
  id: string,
  seconds: number,
  more: { partition?: number; offset: number; n?: number; shadow?: Array<{ version: string; score: number }> },
): PredictionRow {
  const { partition = 0, offset, n = offset, shadow = [] } = more
  return {
    partition,
    offset,
    key: `user${n % 5}`,
    prediction: {
      id,
      time: startMs + seconds * 1_000,
      score: n % 4 === 0 ? null : 1 / (n + 1),
      modelVersion: n % 4 === 0 ? null : `v${n % 2}`,
      features: vectorOf(n),
      shadow,
    },
  }
}

export function label(
  id: string,
  seconds: number,
  more: { partition?: number; offset: number; outcome?: 0 | 1 | null },
): LabelRow {
  const { partition = 0, offset, outcome = 1 } = more
  return { partition, offset, label: { id, time: startMs + seconds * 1_000, outcome } }
}

/** Rows of one partition of each input that end where they end; the partition's watermark is that of its rows. */
export function batchOf(
  predictions: readonly PredictionRow[],
  labels: readonly LabelRow[],
  more: { atEnd?: boolean; counts?: Batch['counts'] } = {},
): Batch {
  const { atEnd = true, counts = {} } = more
  const read = (
    input: PartitionRead['input'],
    rows: ReadonlyArray<{ offset: number; time: number }>,
  ): PartitionRead => ({
    input,
    partition: 0,
    from: rows[0]?.offset ?? 0,
    next: (rows.at(-1)?.offset ?? -1) + 1,
    passedMs: Math.max(Number.NEGATIVE_INFINITY, ...rows.map(({ time }) => time)),
    isAtEnd: atEnd,
  })
  return {
    predictions,
    labels,
    counts,
    read: [
      read(
        'predictions',
        predictions.map(({ offset, prediction }) => ({ offset, time: prediction.time })),
      ),
      read(
        'label',
        labels.map(({ offset, label }) => ({ offset, time: label.time })),
      ),
    ],
  }
}

/** One row in words: id, seconds after the start, label. */
export function rowLines(rows: MatureRows): string[] {
  return rows.ids.map((id, row) => `${id} ${(rows.times[row]! - startMs) / 1_000} ${rows.labels[row]}`)
}
