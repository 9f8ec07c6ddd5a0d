/** An authority of its own with certificates of servers and clients on 127.0.0.1, recreated for a test, as PEM files in a folder. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { generate } from 'selfsigned'

export interface Certificates {
  /** Paths of PEM files. */
  readonly ca: string
  readonly otherCa: string
  readonly serverCert: string
  readonly serverKey: string
  readonly clientCert: string
  readonly clientKey: string
  /** Certificate, authority and key in one file, as Kafka wants them. */
  readonly serverStore: string
}

/** Keys that are made in a moment. */
const quick = { algorithm: 'sha256', keyType: 'ec', curve: 'P-256' } as const

export async function makeCertificates(folder: string): Promise<Certificates> {
  const [ca, otherCa] = await Promise.all([authority('authority'), authority('other authority')])
  const [server, client] = await Promise.all([signed('server', ca), signed('client', ca)])
  const write = (name: string, ...parts: string[]) => {
    const path = join(folder, name)
    writeFileSync(
      path,
      parts
        .map((part) => part.trim())
        .join('\n')
        .concat('\n'),
    )
    return path
  }
  return {
    ca: write('ca.pem', ca.cert),
    otherCa: write('other-ca.pem', otherCa.cert),
    serverCert: write('server.pem', server.cert),
    serverKey: write('server-key.pem', server.private),
    clientCert: write('client.pem', client.cert),
    clientKey: write('client-key.pem', client.private),
    serverStore: write('server-store.pem', server.private, server.cert, ca.cert),
  }
}

function authority(commonName: string) {
  return generate([{ name: 'commonName', value: commonName }], {
    ...quick,
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  })
}

function signed(commonName: string, ca: { readonly cert: string; readonly private: string }) {
  return generate([{ name: 'commonName', value: commonName }], {
    ...quick,
    ca: { key: ca.private, cert: ca.cert },
    extensions: [
      { name: 'basicConstraints', cA: false },
      { name: 'keyUsage', digitalSignature: true },
      { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
      {
        name: 'subjectAltName',
        altNames: [
          { type: 2, value: 'localhost' },
          { type: 7, ip: '127.0.0.1' },
        ],
      },
    ],
  })
}
