/**
 * The kinds of settings: a variable and its description come in, a row goes out with how to parse its text, what is expected and how the
 * value may be shown. Called by `config-table.ts`.
 */
import { readFileSync, statSync } from 'node:fs'

/** One row. `parse` returns null where the text is invalid; `expected` describes a valid value. */
export interface Setting<T> {
  readonly variable: string
  readonly type: string
  readonly fallback: T
  readonly unit: string
  readonly sentence: string
  readonly expected: string
  readonly parse: (text: string) => T | null
  /** A given text as it may be printed and logged: without secrets. */
  readonly shown: (text: string) => string
  /** The received value in a fault, where it is not the text as shown. */
  readonly received?: (text: string) => string
}

type SettingOptions<T> = Pick<Setting<T>, 'variable' | 'fallback' | 'sentence'> & { readonly unit?: string }
/** A setting that may be missing. */
type Optional = Omit<SettingOptions<null>, 'fallback'>

/** A file that a variable names, read with the configuration. */
export interface NamedFile {
  readonly path: string
  readonly text: string
}

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
const fileBytesMax = 1_048_576
const hidden = '***'

export function brokers(options: SettingOptions<readonly string[]>): Setting<readonly string[]> {
  const hostAndPort = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})$/
  return {
    ...base(options),
    type: 'list of host:port',
    expected: 'host:port, several separated by commas, ports from 1 to 65535',
    parse: (text) => {
      const addresses = text.split(',').map((part) => part.trim())
      const isValid = addresses.every((part) => {
        const port = Number(hostAndPort.exec(part)?.[1])
        return port >= 1 && port <= 65_535
      })
      return isValid ? addresses : null
    },
  }
}

export function redis(options: SettingOptions<string | null>): Setting<string | null> {
  return {
    ...base(options),
    type: 'URL',
    expected: 'redis://host:port or rediss://host:port',
    parse: (text) => (/^rediss?:\/\/[^\s/]+/.test(text) && URL.canParse(text) ? text : null),
    shown: withoutPassword,
  }
}

export function registry(options: SettingOptions<string | null>): Setting<string | null> {
  return {
    ...base(options),
    type: 'URL',
    expected: 'http://host:port or https://host:port',
    parse: (text) => (/^https?:\/\/[^\s/?#]+/.test(text) && URL.canParse(text) ? text : null),
    shown: withoutPassword,
  }
}

export function name(options: SettingOptions<string>): Setting<string> {
  return {
    ...base(options),
    type: 'name',
    expected: '1 to 64 letters, digits, dots, dashes and underscores, the first a letter or digit',
    parse: (text) => (namePattern.test(text) ? text : null),
  }
}

/** A name that topics begin with, where none at all is a choice of its own. */
export function prefix(options: SettingOptions<null>): Setting<string | null> {
  const { type, expected, parse } = name({ ...options, fallback: '' })
  return {
    ...base<string | null>(options),
    type: `${type} or none`,
    expected: `none or ${expected}`,
    parse: (text) => (text === 'none' ? '' : parse(text)),
  }
}

export function text<T extends string | null>(options: SettingOptions<T>): Setting<T | string> {
  return {
    ...base<T | string>(options),
    type: 'text',
    expected: 'text without blanks at its ends',
    parse: (given) => (given === given.trim() ? given : null),
  }
}

export function whole(
  options: SettingOptions<number> & { readonly min: number; readonly max: number },
): Setting<number> {
  const { min, max, ...rest } = options
  return {
    ...base(rest),
    type: 'whole number',
    expected: `a whole number from ${min} to ${max}`,
    parse: (given) => (/^\d{1,9}$/.test(given) && Number(given) >= min && Number(given) <= max ? Number(given) : null),
  }
}

export function choice<T extends string, F extends T | null>(
  options: SettingOptions<F> & { readonly of: readonly T[] },
): Setting<T | F> {
  const { of, ...rest } = options
  return {
    ...base<T | F>(rest),
    type: `one of ${of.join(', ')}`,
    expected: `one of ${of.join(', ')}`,
    parse: (given) => of.find((one) => one === given) ?? null,
  }
}

/** A text that is never shown. */
export function secret(options: Optional): Setting<string | null> {
  return {
    ...base<string | null>({ ...options, fallback: null }),
    type: 'secret',
    expected: 'text without line breaks',
    parse: (given) => (/[\r\n]/.test(given) ? null : given),
    shown: () => hidden,
  }
}

/** A file that holds one secret, as secrets are mounted; a trailing line break is ignored. */
export function secretFile(options: Optional): Setting<string | null> {
  return {
    ...base<string | null>({ ...options, fallback: null }),
    type: 'file',
    expected: 'the path of a file that holds one line',
    parse: (path) => {
      const read = readNamed(path)
      const line = 'text' in read ? read.text.replace(/\r?\n$/, '') : ''
      return line === '' || /[\r\n]/.test(line) ? null : line
    },
    received: (path) => faultOf(path, 'it is empty or holds several lines'),
  }
}

/** A file with certificates or a key, as OpenSSL writes them. */
export function pemFile(
  options: Optional & { readonly holds: 'certificates' | 'a private key' },
): Setting<NamedFile | null> {
  const { holds, ...rest } = options
  const block =
    holds === 'certificates' ? /-----BEGIN (?:TRUSTED )?CERTIFICATE-----/ : /-----BEGIN [A-Z ]*PRIVATE KEY-----/
  return {
    ...base<NamedFile | null>({ ...rest, fallback: null }),
    type: 'file',
    expected: `the path of a PEM file with ${holds}`,
    parse: (path) => {
      const read = readNamed(path)
      return 'text' in read && block.test(read.text) ? read : null
    },
    received: (path) => faultOf(path, `it holds no PEM block with ${holds}`),
  }
}

/** A URL without its credentials, for messages and logs. */
export function withoutPassword(url: string): string {
  return url.replace(/\/\/.*@/, `//${hidden}@`)
}

function base<T>(options: SettingOptions<T>): SettingOptions<T> & Pick<Setting<T>, 'unit' | 'shown'> {
  return { ...options, unit: options.unit ?? '', shown: (given) => given }
}

function readNamed(path: string): NamedFile | { readonly reason: string } {
  try {
    const { size } = statSync(path)
    if (size > fileBytesMax) return { reason: `it has ${size} bytes, ${fileBytesMax} at most are read` }
    return { path, text: readFileSync(path, 'utf8') }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return { reason: code === 'ENOENT' ? 'there is no such file' : `it cannot be read: ${message}` }
  }
}

function faultOf(path: string, otherwise: string): string {
  const read = readNamed(path)
  return `${path} (${'reason' in read ? read.reason : otherwise})`
}
