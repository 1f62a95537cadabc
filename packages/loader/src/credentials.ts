import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { createSecureContext } from "node:tls";
import { errorText } from "@bpfleet/base";
import type { TlsFiles } from "./bpfd-config.ts";

export interface Credentials {
  readonly tls: { readonly ca: Buffer; readonly cert: Buffer; readonly key: Buffer };
  /** Fingerprints: who is not issued by one of these is nobody. */
  readonly authorities: ReadonlySet<string>;
  readonly text: string;
}

export interface RenewOptions {
  /** Between two looks at the files. */
  readonly renewMs: number;
  /** One line for people, each once. */
  readonly onNotice: (notice: string) => void;
  readonly onRenewed: (fresh: Credentials) => void;
}

/** Files that are read so long apart and are the same are not being written just now. */
const stillMs = 500;

/** Throws when a file cannot be read, is not whole, or does not go with the others. */
export async function readCredentials(files: TlsFiles): Promise<Credentials> {
  const [ca, cert, key] = await Promise.all([read(files.caCert), read(files.cert), read(files.key)]);
  const authorities = new Set(certificatesOf(files.caCert, ca).map(({ fingerprint256 }) => fingerprint256));
  const [own] = certificatesOf(files.cert, cert);
  const secret = parsing(files.key, "a private key", () => createPrivateKey(key));
  if (own?.checkPrivateKey(secret) !== true)
    throw new Error(`use ${files.cert}: it is not the certificate of the key in ${files.key}`);
  const tls = { ca, cert, key };
  parsing(files.cert, "what TLS can use", () => createSecureContext(tls));
  return { tls, authorities, text: Buffer.concat([ca, cert, key]).toString("latin1") };
}

/**
 * Looks at the files again and again, and tells when others are there that are whole. As long as they are not, what was
 * read before holds, and a notice says so: nobody is shut out and nobody is let in by a file that is half written.
 */
export function renewCredentials(files: TlsFiles, first: Credentials, options: RenewOptions): Disposable {
  const { renewMs, onNotice, onRenewed } = options;
  const ending = new AbortController();
  const { signal } = ending;
  let current = first;
  let told: string | undefined;
  const look = async (): Promise<void> => {
    const fresh = await readCredentials(files);
    if (fresh.text === current.text) return;
    await sleep(Math.min(stillMs, renewMs), undefined, { signal, ref: false });
    if ((await readCredentials(files)).text !== fresh.text) return;
    onRenewed(fresh);
    current = fresh;
  };
  const watch = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        await sleep(renewMs, undefined, { signal, ref: false });
        await look();
        if (told !== undefined) onNotice("the certificates of bpfd's API can be used again");
        told = undefined;
      } catch (error) {
        if (signal.aborted) return;
        const text = errorText(error);
        if (text !== told) onNotice(`${text}; bpfd's API goes on with the certificates from before`);
        told = text;
      }
    }
  };
  void watch();
  return { [Symbol.dispose]: () => ending.abort() };
}

async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    const text = errorText(cause);
    throw new Error(`read ${path}, which bpfd's configuration names: ${text}`, { cause });
  }
}

function certificatesOf(path: string, pem: Buffer): readonly X509Certificate[] {
  const text = pem.toString("latin1");
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g) ?? [];
  const begun = text.match(/-----BEGIN/g)?.length ?? 0;
  if (blocks.length === 0 || begun !== blocks.length)
    throw new Error(`use ${path}: it has ${blocks.length} whole certificates of ${begun}`);
  return blocks.map((block) => parsing(path, "a certificate", () => new X509Certificate(block)));
}

function parsing<T>(path: string, what: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const text = errorText(cause);
    throw new Error(`use ${path}: it is not ${what}: ${text}`, { cause });
  }
}
