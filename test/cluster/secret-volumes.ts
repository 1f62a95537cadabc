import { X509Certificate } from "node:crypto";
import { chmodSync, lstatSync, mkdirSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { AnyObject } from "@bpfleet/kube";
import type { KubeClient } from "@bpfleet/kube-client";

interface Secret extends AnyObject {
  readonly data?: Readonly<Record<string, string>>;
}

const secrets = { group: "", version: "v1", plural: "secrets", namespace: "kube-system" } as const;
const lookMs = 300;
let serial = 0;

/** Secrets as a kubelet shows them to containers: files below a link that is swapped, the ones before removed. */
export class SecretVolumes implements AsyncDisposable {
  readonly #client: KubeClient;
  readonly #folders: ReadonlyMap<string, string>;
  readonly #shown = new Map<string, string>();
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #isHeld = true;
  /** How often a Secret was shown anew. */
  readonly swaps = new Map<string, number>();

  /** `folders` by the names of Secrets. Nothing is shown by itself before `follow`. */
  constructor(client: KubeClient, folders: Readonly<Record<string, string>>) {
    this.#client = client;
    this.#folders = new Map(Object.entries(folders));
    this.#running = this.#run();
  }

  follow(): void {
    this.#isHeld = false;
  }

  /** What is shown stays as it is. */
  hold(): void {
    this.#isHeld = true;
  }

  /** Shows a Secret as it is now, where it is there and another one than before. */
  async show(name: string): Promise<void> {
    const secret = await this.#client.find<Secret>({ ...secrets, name });
    const folder = this.#folders.get(name);
    const text = JSON.stringify(secret?.data);
    if (secret?.data === undefined || folder === undefined || text === this.#shown.get(name)) return;
    this.#swap(folder, secret.data);
    this.#shown.set(name, text);
    this.swaps.set(name, (this.swaps.get(name) ?? 0) + 1);
  }

  /** The files of a Secret, as a process finds them. */
  text(name: string, file: string): string {
    const data = JSON.parse(this.#shown.get(name) ?? "{}") as Secret["data"];
    return Buffer.from(data?.[file] ?? "", "base64").toString();
  }

  endsAt(name: string): number {
    return new X509Certificate(this.text(name, "tls.crt")).validToDate.getTime();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      for (const name of this.#folders.keys())
        // A server that does not answer is asked again.
        if (!this.#isHeld) await this.show(name).catch(() => undefined);
      await sleep(lookMs, undefined, { signal }).catch(() => undefined);
    }
  }

  #swap(folder: string, data: Readonly<Record<string, string>>): void {
    const version = `..${process.pid}-volume-${++serial}`;
    mkdirSync(join(folder, version), { recursive: true });
    for (const [file, packed] of Object.entries(data))
      writeFileSync(join(folder, version, file), Buffer.from(packed, "base64"), { mode: 0o644 });
    for (const each of [folder, join(folder, version)]) chmodSync(each, 0o755);
    const [link, next] = [join(folder, "..data"), join(folder, "..data_tmp")];
    const isLink = lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink() === true;
    const before = isLink ? readlinkSync(link) : undefined;
    symlinkSync(version, next);
    renameSync(next, link);
    if (before !== undefined) rmSync(join(folder, before), { recursive: true, force: true });
  }
}
