/** Every mistake of a definition's model and of its way of learning. Called by `checkDefinition`. */

import { durationExpected, parseDuration } from '../kernel/duration.ts'
import { type ModelName, qualityMetrics } from '../plan/model-plan.ts'
import type { Pipeline } from './definition.ts'
import { either, isRecord, type Report } from './definition-problem.ts'

const layersMax = 8
const unitsMax = 4_096
const epochsMax = 10_000
const batchRowsMax = 1_048_576
const retrainRowsMax = 1_000_000_000
const modelExpected = 'logisticRegression(), mlp(), prior() or ownModel()'

type Parts = Readonly<Record<string, unknown>>

const checks: Readonly<Record<ModelName, (model: Parts, report: Report) => void>> = {
  logistic: ({ l2 }, report) => checkNumber('model.l2', l2, report),
  mlp: checkMlp,
  prior: () => undefined,
  own: checkOwn,
}

export function checkModel({ model }: Pick<Pipeline, 'model'>, report: Report): void {
  const parts: unknown = model
  if (isRecord(parts) && typeof parts.kind === 'string' && Object.hasOwn(checks, parts.kind))
    checks[parts.kind as ModelName](parts, report)
  else report('model', modelExpected, parts)
}

function checkMlp({ hidden, epochs, batchRows, learningRate, l2 }: Parts, report: Report): void {
  if (!Array.isArray(hidden)) report('model.hidden', 'the units of each hidden layer, such as [64, 32]', hidden)
  else {
    if (hidden.length < 1 || hidden.length > layersMax)
      report('model.hidden', `1 to ${layersMax} hidden layers`, `${hidden.length}`)
    hidden.slice(0, layersMax).forEach((units, i) => {
      checkWhole(`model.hidden[${i}]`, units, unitsMax, report)
    })
  }
  checkWhole('model.epochs', epochs, epochsMax, report)
  checkWhole('model.batchRows', batchRows, batchRowsMax, report)
  if (!(typeof learningRate === 'number' && learningRate > 0 && learningRate <= 1))
    report('model.learningRate', 'a number above 0 and up to 1', learningRate)
  checkNumber('model.l2', l2, report)
}

function checkOwn({ own }: Parts, report: Report): void {
  if (!isRecord(own)) {
    report('model', 'ownModel({ name, fit, predictor })', own)
    return
  }
  if (typeof own.name !== 'string' || !/^[A-Za-z][A-Za-z0-9_-]{0,63}$/.test(own.name))
    report('model.name', 'letters, digits, dashes and underscores that begin with a letter, at most 64', own.name)
  for (const part of ['fit', 'predictor']) {
    if (typeof own[part] !== 'function') report(`model.${part}`, 'a function', own[part])
  }
  for (const part of ['contributions', 'learner']) {
    if (own[part] !== undefined && typeof own[part] !== 'function') report(`model.${part}`, 'a function', own[part])
  }
}

export function checkLearn({ learn, model }: Pick<Pipeline, 'learn' | 'model'>, report: Report): void {
  const parts: unknown = learn
  if (parts === undefined) return
  if (!isRecord(parts)) {
    report('learn', 'continuously, retrain and promoteIf, each where wanted', parts)
    return
  }
  const known = ['continuously', 'retrain', 'promoteIf']
  for (const part of Object.keys(parts)) if (!known.includes(part)) report(`learn.${part}`, either(known), part)
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
  if (isRecord(continuously)) checkSpan(`${path}.publishEvery`, continuously.publishEvery, report)
  else if (continuously !== true) report(path, 'true, false or { publishEvery }', continuously)
  if (isRecord(model) && model.kind === 'own' && isRecord(model.own) && model.own.learner === undefined)
    report(path, 'a model with a learner', 'ownModel() without one')
}

function checkRetrain(retrain: unknown, report: Report): void {
  if (retrain === undefined) return
  if (!isRecord(retrain)) {
    report('learn.retrain', 'every, rows and over, each where wanted', retrain)
    return
  }
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

function checkNumber(path: string, value: unknown, report: Report): void {
  if (!(typeof value === 'number' && Number.isFinite(value) && value >= 0)) report(path, 'a number >= 0', value)
}

function checkWhole(path: string, value: unknown, most: number, report: Report): void {
  if (!(typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= most))
    report(path, `a whole number from 1 to ${most}`, value)
}
