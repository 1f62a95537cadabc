import { createHash } from "node:crypto";
import type { ProgramSpec } from "@bpfleet/kernel";
import { refusal } from "./kernel-error.ts";

/** The bytes of an ELF object by the name that plans use; `undefined` when there is none. */
export type LoadObject = (name: string) => Promise<Uint8Array | undefined>;

/** Objects as plans name them: what is handed out has the digest of the plan. */
export class LoadedObjects {
  readonly #load: LoadObject;

  constructor(load: LoadObject) {
    this.#load = load;
  }

  async bytes({ name, digest }: ProgramSpec["object"], what: string): Promise<Uint8Array> {
    const elf = await this.#load(name);
    if (elf === undefined) throw refusal(what, `there is no object ${name}`, "not-found", "READ_OBJECT");
    if (createHash("sha256").update(elf).digest("hex") !== digest) {
      throw refusal(what, `object ${name} is not the one of the plan: its digest has changed`, "stale", "READ_OBJECT");
    }
    return elf;
  }
}
