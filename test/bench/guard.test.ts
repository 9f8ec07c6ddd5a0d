import { expect, test } from 'vitest'
import { createCalibration } from '../../bench/guard/calibration.ts'
import { guardFigure, lossesOf } from '../../bench/guard/guard.ts'

const round = (eventsPerCpuSecond: number, stepsPerCpuSecond: number) => ({ eventsPerCpuSecond, stepsPerCpuSecond })
const figure = (ratio: number) => guardFigure('w1', [round(ratio * 10, 10)])
const reference = { 'node20-x64': { w1: 10 } }

test('a busy moment that hits both sides of a round changes no ratio', () => {
  const { ratio, eventsPerCpuSecond } = guardFigure('w1', [round(100, 10), round(50, 5), round(120, 10)])
  expect(ratio).toEqual({ min: 10, median: 10, max: 12 })
  expect(eventsPerCpuSecond).toEqual({ min: 50, median: 100, max: 120 })
})

test('a figure may be 15 % below its reference and no more; the sentence names it', () => {
  expect(lossesOf([figure(8.51), figure(30)], reference, 'node20-x64')).toEqual([])
  expect(lossesOf([figure(8.4)], reference, 'node20-x64')).toEqual([
    'WORSE: events per CPU-second of w1, against the calibration: 8.4, where the reference of node20-x64 is 10: ' +
      '16 % less, and 15 % are allowed.',
  ])
})

test('without a reference for this Node and processor there is nothing to compare with', () => {
  expect(() => lossesOf([figure(10)], reference, 'node24-arm64')).toThrow(
    'The guard has no reference for w1 of node24-arm64 (there are: node20-x64). Write it on a revision that is good: ' +
      'npm run bench -- --guard --update',
  )
})

test('the calibration does the same work each time', () => {
  const steps = () => {
    const calibration = createCalibration()
    return Array.from({ length: 3 }, () => calibration.step())
  }
  expect(steps()).toEqual(steps())
  expect(new Set(steps()).size).toBe(3)
})
