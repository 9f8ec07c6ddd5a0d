/** Every mistake of a definition's model and of its way of learning. Called by `checkDefinition`. */

import { durationExpected, parseDuration } from '../kernel/duration.ts'
import { checkWhole, either, isRecord, type Parts, type Report } from '../kernel/report.ts'
import { checkKeys, checkStray, namesOf } from '../kernel/stray-options.ts'
import type { ModelKind } from '../models/model-kind.ts'
import { type ModelName, modelKinds } from '../models/models.ts'
import { qualityMetrics } from '../models/quality-metrics.ts'
import type { Pipeline } from './definition.ts'
import type { Continuously, LearnDefinition, Retrain } from './learn-definition.ts'

const learnOptions = namesOf<LearnDefinition>({ continuously: true, retrain: true, promoteIf: true })
const continuouslyOptions = namesOf<Continuously>({ publishEvery: true })
const retrainOptions = namesOf<Retrain>({ every: true, rows: true, over: true })
const retrainRowsMax = 1_000_000_000

export function checkModel({ model }: Pick<Pipeline, 'model'>, report: Report): void {
  const parts: unknown = model
  if (isRecord(parts) && typeof parts.kind === 'string' && Object.hasOwn(modelKinds, parts.kind))
    checkKind(modelKinds[parts.kind as ModelName], parts, report)
  else report('model', either(Object.values(modelKinds).map(({ builder }) => builder)), parts)
}

function checkKind(kind: ModelKind, parts: Parts, report: Report): void {
  const { kind: _, stray, ...options } = parts
  checkKeys('model', kind.builder, kind.options, options, report)
  checkStray('model', kind.builder, kind.options, stray, report)
  kind.check(parts, report)
}

export function checkLearn({ learn, model }: Pick<Pipeline, 'learn' | 'model'>, report: Report): void {
  const parts: unknown = learn
  if (parts === undefined) return
  if (!isRecord(parts)) {
    report('learn', 'continuously, retrain and promoteIf, each where wanted', parts)
    return
  }
  checkKeys('learn', 'learn', learnOptions, parts, report)
  checkContinuously(parts.continuously, model, report)
  checkRetrain(parts.retrain, report)
  const better: unknown = parts.promoteIf
  if (better === undefined) return
  if (!isRecord(better) || better.kind !== 'better') report('learn.promoteIf', 'better(metric)', better)
  else if (!qualityMetrics.some((metric) => metric === better.metric))
    report('learn.promoteIf', `better() of ${either(qualityMetrics)}`, better.metric)
}

function checkContinuously(continuously: unknown, model: unknown, report: Report): void {
  if (continuously === undefined || continuously === false) return
  const path = 'learn.continuously'
  if (isRecord(continuously)) {
    checkKeys(path, 'continuously', continuouslyOptions, continuously, report)
    checkSpan(`${path}.publishEvery`, continuously.publishEvery, report)
  } else if (continuously !== true) report(path, 'true, false or { publishEvery }', continuously)
  if (isRecord(model) && model.kind === 'own' && isRecord(model.own) && model.own.learner === undefined)
    report(path, 'a model with a learner', 'customModel() without one')
}

function checkRetrain(retrain: unknown, report: Report): void {
  if (retrain === undefined) return
  if (!isRecord(retrain)) {
    report('learn.retrain', 'every, rows and over, each where wanted', retrain)
    return
  }
  checkKeys('learn.retrain', 'retrain', retrainOptions, retrain, report)
  const { every, rows, over } = retrain
  if (every === undefined && rows === undefined) report('learn.retrain', 'every, rows or both', 'neither')
  if (every !== undefined) checkSpan('learn.retrain.every', every, report)
  if (rows !== undefined) checkWhole('learn.retrain.rows', rows, retrainRowsMax, report)
  if (over !== undefined) checkSpan('learn.retrain.over', over, report)
}

/** Nothing can be done every 0 ms, or over so many of them. */
function checkSpan(path: string, duration: unknown, report: Report): void {
  const parsed = typeof duration === 'string' ? parseDuration(duration) : null
  if (parsed === null) report(path, durationExpected, duration)
  else if (parsed === 0) report(path, 'longer than 0s', duration)
}
