/**
 * What a task keeps in memory of the answers that its held events came with: events that were taken go from the list, and those that are
 * few of an answer get one of their own, so that an event that waits for long keeps neither the others nor their bytes. Called where an
 * answer was read.
 */
import { recordsOf } from '../../runtime/records.ts'
import { copyRow, createRows } from '../../schemas/wire/event-rows.ts'
import { copyCarried, createCarriedRows } from '../../schemas/wire/repartition-reader.ts'
import { type FetchedEvents, moveTo, recordOf, type StageEvent } from './stage-event.ts'
import { fetchedEvents, type ReadInput } from './task-input.ts'

/** The list may have this many events more than twice those that waited when it was last gone through. */
const sweepEventsMin = 1_024
/** So many bytes may have been fetched since then, beyond those of the events that waited. */
const sweepBytesMin = 8_388_608
/** Events with less than this share of their answer's bytes are copied. */
const shareMin = 0.25

/**
 * An answer with so many bytes was read. Goes through the held events once enough has come since it last did: work is proportional to what
 * is read. `heldMax`: of the task.
 */
export function sweepHeld(input: ReadInput, answerBytes: number, heldMax: number): void {
  const { held, swept } = input
  swept.bytesSince += answerBytes
  const eventsMin = Math.min(sweepEventsMin, heldMax)
  const isDue = held.length > 2 * swept.events + eventsMin || swept.bytesSince > swept.bytes + sweepBytesMin
  if (!isDue) return
  input.held = held.filter(({ isTaken }) => !isTaken)
  input.from = 0
  const byAnswer = eventsByAnswer(input.held)
  swept.events = input.held.length
  swept.bytes = 0
  swept.bytesSince = 0
  for (const [answer, events] of byAnswer) {
    const bytes = events.reduce((sum, event) => sum + bytesOf(event), 0)
    swept.bytes += bytes
    // The latest answer is kept anyway.
    if (answer !== input.fetched && bytes < shareMin * answer.records.bytes.length) moveOut(answer, events)
  }
}

function eventsByAnswer(held: readonly StageEvent[]): Map<FetchedEvents, StageEvent[]> {
  const byAnswer = new Map<FetchedEvents, StageEvent[]>()
  let answer: FetchedEvents | null = null
  let events: StageEvent[] = []
  for (const event of held) {
    // Neighbours mostly came together.
    if (event.fetched !== answer) {
      answer = event.fetched
      events = byAnswer.get(answer) ?? []
      byAnswer.set(answer, events)
    }
    events.push(event)
  }
  return byAnswer
}

function bytesOf({ fetched: { records }, row }: StageEvent): number {
  const { keyStarts, keyEnds, valueStarts, valueEnds } = records
  const keyBytes = keyStarts[row]! < 0 ? 0 : keyEnds[row]! - keyStarts[row]!
  return keyBytes + (valueStarts[row]! < 0 ? 0 : valueEnds[row]! - valueStarts[row]!)
}

/** Into an answer with nothing but these events. */
function moveOut(answer: FetchedEvents, events: readonly StageEvent[]): void {
  const records = recordsOf(
    events.map((event) => {
      const { headers, ...record } = recordOf(event)
      const copied = Object.entries(headers).map(([name, value]) => [name, Buffer.from(value)] as const)
      return { ...record, headers: Object.fromEntries(copied) }
    }),
  )
  const own = fetchedEvents(records, answer)
  if (answer.carried !== null) own.carried = createCarriedRows(records.length, answer.carried.slotsMax)
  for (const [row, event] of events.entries()) {
    const { stream, rows, row: rowBefore } = event
    own.rows[stream] ??= createRows(rows.layout, records.length, records.bytes)
    const shift = records.valueStarts[row]! - answer.records.valueStarts[rowBefore]!
    copyRow(rows, rowBefore, own.rows[stream], row, shift)
    own.maxEventTimes[row] = answer.maxEventTimes[rowBefore]!
    if (answer.carried !== null) copyCarried(answer.carried, rowBefore, own.carried!, row)
    moveTo(event, own, row)
  }
}
