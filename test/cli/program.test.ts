/** What the command answers to wrong usage and a wrong environment, word for word. */
import { describe, expect, test } from 'vitest'
import { call } from './call.ts'

const cardFraud = 'pipelines/card-fraud.ts'

describe('wrong usage reports what to type and ends with 2', () => {
  test('an unknown command', async () => {
    expect(await call(['prodce'])).toEqual({
      code: 2,
      out: [],
      err: ["error: unknown command 'prodce'", '(Did you mean produce?)', 'Type millrace --help for the commands.'],
    })
  })

  test('an option that is required', async () => {
    expect(await call(['replay', cardFraud, '--source', 'handbook'])).toEqual({
      code: 2,
      out: [],
      err: [
        "error: required option '--out <file>' not specified",
        'For example:',
        '  millrace replay pipelines/card-fraud.ts --source handbook --out features.csv',
        '  millrace replay pipelines/card-fraud.ts --source handbook --until 2018-05-01 --model model.json --out scores.csv',
        '  millrace replay pipelines/card-fraud.ts --source transactions=tx.csv --source chargebacks=cb.csv --sort --out features.csv',
        'millrace replay --help shows all options.',
      ],
    })
  })

  test.each([
    [['run'], "error: missing required argument 'definition'"],
    [['run', cardFraud, '--locally'], "error: unknown option '--locally'"],
    [['produce', cardFraud], "error: required option '--source <source>' not specified"],
    [
      ['produce', cardFraud, '--source', 'handbook', '--rate', '0'],
      "error: option '--rate <events>' argument '0' is invalid. Expected a number above 0.",
    ],
    [
      ['produce', cardFraud, '--source', 'handbook', '--rate', '5', '--speed', '5'],
      "error: option '--speed <factor>' cannot be used with option '--rate <events>'",
    ],
    [
      ['produce', cardFraud, '--source', 'handbook', '--from', '1.4.2018'],
      "error: option '--from <day>' argument '1.4.2018' is invalid. " +
        'Expected a day such as 2018-04-01 or an instant such as 2018-04-01T06:30:00Z.',
    ],
    [
      ['replay', cardFraud, '--source', 'handbook', '--out', 'x', '--partitions', '2000'],
      "error: option '--partitions <count>' argument '2000' is invalid. Expected a whole number from 1 to 1024.",
    ],
    [
      ['features', cardFraud, 'customer', '1', '--knowledge', 'later'],
      "error: option '--knowledge <when>' argument 'later' is invalid. Allowed choices are then, now.",
    ],
    [['schemas', cardFraud, '--check', '--write'], "error: option '--check' cannot be used with option '--write'"],
  ])('millrace %j', async (args, message) => {
    const { code, out, err } = await call(args)
    expect([code, out, err[0]]).toEqual([2, [], message])
    expect(err.slice(1).join('\n')).toMatch(
      /^(?:\(Did you mean .*\n)?For example:\n {2}millrace .*\nmillrace \w+ --help shows all options\.$/s,
    )
  })

  test('a definition that is not there', async () => {
    expect(await call(['schemas', 'pipelines/nothing.ts'])).toEqual({
      code: 2,
      out: [],
      err: [
        'error: There is no file pipelines/nothing.ts: expected a definition, such as pipelines/card-fraud.ts.',
        'Call the command as the message says; --help shows examples.',
      ],
    })
  })

  test('bounds on a source that has none', async () => {
    const { code, err } = await call(['produce', cardFraud, '--source', 'stdin', '--seed', '1'])
    expect([code, err[0]]).toEqual([2, 'error: --seed applies to a generated source such as --source handbook only.'])
  })

  test('a stream that the pipeline does not have', async () => {
    const { code, err } = await call(['produce', cardFraud, '--source', 'stdin', '--stream', 'payments'])
    expect([code, err[0]]).toEqual([2, 'error: --stream must be one of transactions, chargebacks, but is payments.'])
  })

  test('an entity that the pipeline does not have', async () => {
    const { code, err } = await call(['features', cardFraud, 'shop', '1'])
    expect([code, err[0]]).toEqual([2, 'error: card-fraud has no entity shop: type one of customer, terminal.'])
  })
})

describe('help', () => {
  test('lists every command and ends with 0', async () => {
    const { code, out, err } = await call(['--help'])
    expect([code, err]).toEqual([0, []])
    for (const name of ['run', 'produce', 'train', 'features', 'tail', 'rejected', 'replay', 'schemas']) {
      expect(out.some((line) => line.startsWith(`  ${name} `))).toBe(true)
    }
  })

  test.each(['run', 'produce', 'train', 'features', 'tail', 'replay', 'schemas'])('%s shows examples', async (name) => {
    const { code, out } = await call([name, '--help'])
    expect(code).toBe(0)
    expect(out[out.indexOf('Examples:') + 1]).toMatch(new RegExp(`^ {2}millrace ${name} pipelines/card-fraud.ts`))
  })
})

describe('other failures are one sentence and its remedy, and end with 1', () => {
  test('settings', async () => {
    const env = { MILLRACE_PARTITIONS: 'many', MILLRACE_WORKR: 'a' }
    expect(await call(['schemas', cardFraud], { env })).toEqual({
      code: 1,
      out: [],
      err: [
        'error: 2 settings are wrong:',
        '  MILLRACE_PARTITIONS: expected a whole number from 1 to 1024, received many',
        '  MILLRACE_WORKR: expected a setting of Millrace; the nearest is MILLRACE_WORKER, received an unknown name',
        'Fix each listed variable.',
      ],
    })
  })

  test('addresses that production needs', async () => {
    const { code, err } = await call(['run', cardFraud], { env: { MILLRACE_LOG_LEVEL: 'silent' } })
    expect([code, err]).toEqual([
      1,
      [
        'error: millrace run needs KAFKA_BROKERS (host:port) and REDIS_URL (redis://host:port); ' +
          'with --local it starts servers on this machine instead.',
        'Fix each listed variable.',
      ],
    ])
  })

  test.each([['tail', 'predictions'], ['train']])('%s without KAFKA_BROKERS', async (name, ...rest) => {
    const { code, err } = await call([name, cardFraud, ...rest])
    expect([code, err[0]]).toEqual([
      1,
      'error: KAFKA_BROKERS is not set: expected the host:port of a Kafka broker, such as KAFKA_BROKERS=localhost:9092.',
    ])
  })

  test('a definition without a pipeline', async () => {
    const { code, err } = await call(['schemas', 'test/cli/fixtures/no-pipeline.ts'])
    expect([code, err[0]]).toEqual([
      1,
      'error: test/cli/fixtures/no-pipeline.ts: expected `export default definePipeline({ … })`, received no default export.',
    ])
  })

  test('a definition that throws', async () => {
    const { code, err } = await call(['schemas', 'test/cli/fixtures/broken.ts'])
    expect([code, err[0]]).toEqual([1, 'error: test/cli/fixtures/broken.ts cannot be loaded: the fixture throws.'])
  })

  test('a definition with mistakes: all of them', async () => {
    const { code, err } = await call(['schemas', 'test/cli/fixtures/mistaken.ts'])
    expect(code).toBe(1)
    expect(err[0]).toBe('error: Pipeline Clicks has 3 mistakes:')
    expect(err.slice(1, 4).map((line) => line.trim().split(':')[0])).toEqual(['name', 'version', 'label.from'])
    expect(err.at(-1)).toBe('Fix each listed path in the definition file.')
  })

  test('a source that is not there', async () => {
    const { code, err } = await call(['replay', cardFraud, '--source', 'gone.jsonl', '--out', 'never.csv'])
    expect(code).toBe(1)
    expect(err[0]).toMatch(
      /^error: Source gone\.jsonl cannot be read: ENOENT.*Expected handbook, stdin or the path of a CSV, JSON-lines or Parquet file/,
    )
  })

  test('a mistake of ours comes with its stack', async () => {
    const openBroker = () => {
      throw new TypeError('our mistake')
    }
    const { code, err } = await call(['tail', cardFraud, 'models'], { openBroker })
    expect([code, err.slice(0, 2)]).toEqual([
      1,
      ['error: This is a bug in Millrace; please report it with the lines below.', 'TypeError: our mistake'],
    ])
    expect(err[2]).toContain('    at ')
  })
})
