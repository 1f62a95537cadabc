import { X509Certificate, createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { errorText } from "@bpfleet/base";

/** Paths of PEM files, as a Secret volume shows them. */
export interface TlsPaths {
  readonly cert: string;
  readonly key: string;
  /** Who signs the other side's certificate. */
  readonly ca: string;
}

export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  /** Both in milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface TlsFilesOptions {
  /** Between two looks. */
  readonly pollMs?: number | undefined;
  /** Another one than before is there; not called for the first. */
  readonly onChange: (material: TlsMaterial) => void;
  /** The files cannot be used, in words; each thing once. What was read before goes on. */
  readonly onTrouble: (why: string) => void;
  /** What is used has ended; once for each. */
  readonly onEnded?: ((cert: string, at: Date) => void) | undefined;
}

/**
 * Certificate, key and authority from files that others replace at any time, one after the other or by a symbolic link:
 * what does not fit together, or cannot be read, is as if it were not there yet.
 */
export class TlsFiles implements Disposable {
  readonly #paths: TlsPaths;
  readonly #options: TlsFilesOptions;
  readonly #timer: NodeJS.Timeout;
  #material: TlsMaterial | undefined;
  #told = "";
  #ended: TlsMaterial | undefined;

  constructor(paths: TlsPaths, options: TlsFilesOptions) {
    this.#paths = paths;
    this.#options = options;
    this.look();
    this.#timer = setInterval(() => this.look(), options.pollMs ?? 2000);
    this.#timer.unref();
  }

  /** What was last found whole. */
  current(): TlsMaterial | undefined {
    return this.#material;
  }

  look(): void {
    this.#read();
    const { notAfter = Infinity } = this.#material ?? {};
    if (notAfter > Date.now() || this.#ended === this.#material) return;
    this.#ended = this.#material;
    this.#options.onEnded?.(this.#paths.cert, new Date(notAfter));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #read(): void {
    let found: TlsMaterial;
    try {
      found = readMaterial(this.#paths);
    } catch (error) {
      return this.#tell(errorText(error));
    }
    this.#told = "";
    const before = this.#material;
    if (before?.cert === found.cert && before.key === found.key && before.ca === found.ca) return;
    this.#material = found;
    if (before !== undefined) this.#options.onChange(found);
  }

  #tell(why: string): void {
    if (why === this.#told) return;
    this.#told = why;
    this.#options.onTrouble(why);
  }
}

/** Throws unless all three are whole and belong together. */
function readMaterial({ cert, key, ca }: TlsPaths): TlsMaterial {
  const [certText, keyText, caText] = [cert, key, ca].map((path) => readFileSync(path, "utf8")) as [
    string,
    string,
    string,
  ];
  const certificate = parsed(cert, () => new X509Certificate(certText));
  const privateKey = parsed(key, () => createPrivateKey(keyText));
  parsed(ca, () => new X509Certificate(caText));
  if (!certificate.checkPrivateKey(privateKey))
    throw new Error(`read ${key}: it is not the key of ${cert}; put the two there that were issued together`);
  parsed(cert, () => createSecureContext({ cert: certText, key: keyText, ca: caText }));
  const [notBefore, notAfter] = [certificate.validFromDate.getTime(), certificate.validToDate.getTime()];
  return { cert: certText, key: keyText, ca: caText, notBefore, notAfter };
}

function parsed<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new Error(`read ${path}: ${errorText(error)}`, { cause: error });
  }
}
