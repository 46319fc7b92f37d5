import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { onCleanup } from './cleanup.js';

/** Files in PEM. */
export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
}

/** A certificate of its own authority for 127.0.0.1, valid for two days. Undefined where openssl is not installed. */
export async function makeCertificate(): Promise<Certificate | undefined> {
  const dir = await mkdtemp(join(tmpdir(), 'stafett-certificate-'));
  onCleanup(() => rm(dir, { recursive: true, force: true }));
  const [certFile, keyFile] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  const kind = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const name = ['-subj', '/CN=stafett-test', '-addext', 'subjectAltName=IP:127.0.0.1'];
  try {
    await promisify(execFile)('openssl', [...kind, ...name, '-keyout', keyFile, '-out', certFile]);
    return { certFile, keyFile };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The settings by which a Redis or a sentinel speaks TLS at a port, and to others. */
export function tlsSettings({ certFile, keyFile }: Certificate, port: number): [name: string, value: string][] {
  return [
    ['tls-port', String(port)],
    ['tls-cert-file', certFile],
    ['tls-key-file', keyFile],
    ['tls-ca-cert-file', certFile],
    ['tls-auth-clients', 'no'],
    ['tls-replication', 'yes'],
  ];
}
