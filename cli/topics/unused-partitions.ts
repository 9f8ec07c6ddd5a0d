/**
 * Whether `MILLRACE_PARTITIONS` was set in vain: settings and the partition count of the scored topic come in, a sentence goes out. Called
 * by `run`, `topics` and `doctor`.
 */
import { configInForce } from '../../runtime/config/config.ts'
import type { CommandContext } from '../context.ts'

/** `found`: null where the topic does not exist. Null where the setting was not given or agrees. */
export function unusedPartitions(
  env: CommandContext['env'],
  { topic, found }: { readonly topic: string; readonly found: number | null },
): string | null {
  const setting = configInForce(env).find(({ variable }) => variable === 'MILLRACE_PARTITIONS')
  if (setting?.from !== 'environment' || found === null || String(found) === setting.value) return null
  return (
    `MILLRACE_PARTITIONS=${setting.value} has no effect: ${topic} exists with ${found} partitions, and the setting is for topics ` +
    'that are created'
  )
}
