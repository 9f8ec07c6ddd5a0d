/** Checks of lists of weights in a model file, one value a feature. Called by the kinds of models that have such lists. */

import type { Parts } from '../../schemas/kernel/report.ts'
import type { Checks } from './json-checks.ts'

export function standardising(model: Parts, features: readonly string[], check: Checks) {
  const means = oneEach('means', model, features, check)
  return { means, scales: positiveEach('scales', model, features, check) }
}

export function positiveEach(name: string, model: Parts, features: readonly string[], check: Checks): number[] {
  const numbers = oneEach(name, model, features, check)
  numbers.forEach((number, i) => {
    if (number <= 0) check.note(`model.${name}[${i}]`, 'a positive number', `${number}`)
  })
  return numbers
}

export function oneEach(name: string, model: Parts, features: readonly string[], check: Checks): number[] {
  const numbers = check.numbers(model[name], `model.${name}`)
  if (numbers.length !== features.length)
    check.note(`model.${name}`, `${features.length} values, one a feature`, `${numbers.length}`)
  return numbers
}
