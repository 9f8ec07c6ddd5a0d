/**
 * The settings about TLS, SASL and ACL users come in, the options for the clients of Kafka and Redis go out. Called where the command
 * creates each client.
 */
import type { ConnectionOptions as TlsOptions } from 'node:tls'
import type { SASLOptions } from 'kafkajs'
import type { Config } from './config-table.ts'
import type { NamedFile } from './settings.ts'

export interface KafkaSecurity {
  readonly ssl?: TlsOptions
  readonly sasl?: SASLOptions
}

export interface RedisSecurity {
  readonly tls?: TlsOptions
  readonly username?: string
  readonly password?: string
}

export function kafkaSecurity(config: Config): KafkaSecurity {
  const { kafkaTls, kafkaTlsServerNameCheck, kafkaSaslMechanism: mechanism } = config
  const ssl: TlsOptions = {
    ...tlsFiles(config.kafkaTlsCa, config.kafkaTlsCert, config.kafkaTlsKey),
    ...(kafkaTlsServerNameCheck === 'off' ? { checkServerIdentity: () => undefined } : {}),
  }
  // Both are set where a mechanism is: the configuration is invalid otherwise.
  const username = config.kafkaSaslUsername ?? ''
  const password = config.kafkaSaslPassword ?? config.kafkaSaslPasswordFile ?? ''
  return {
    ...(kafkaTls === 'on' ? { ssl } : {}),
    ...(mechanism === null ? {} : { sasl: { mechanism, username, password } as SASLOptions }),
  }
}

/** Without a CA file, the certificate behind a `rediss://` address is verified against Node's certificate authorities. */
export function redisSecurity(config: Config): RedisSecurity {
  const tls = tlsFiles(config.redisTlsCa, config.redisTlsCert, config.redisTlsKey)
  const password = config.redisPassword ?? config.redisPasswordFile
  return {
    ...(Object.keys(tls).length > 0 ? { tls } : {}),
    ...(config.redisUsername === null ? {} : { username: config.redisUsername }),
    ...(password === null ? {} : { password }),
  }
}

function tlsFiles(ca: NamedFile | null, cert: NamedFile | null, key: NamedFile | null): TlsOptions {
  return {
    ...(ca === null ? {} : { ca: ca.text }),
    ...(cert === null ? {} : { cert: cert.text }),
    ...(key === null ? {} : { key: key.text }),
  }
}
