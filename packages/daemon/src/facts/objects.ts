import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errorText, KernelError } from "@bpfleet/base";
import type { NodeFacts, ObjectFacts } from "@bpfleet/kernel";

/** Objects that can be loaded, each a file `NAME.bpf.o` beside the list. */
export class BpfObjects {
  readonly #directory: string;
  readonly facts: NodeFacts["objects"];

  /** Reads `objects.json`: object name → SHA-256 of its bytes, and its layout. */
  constructor(list: string) {
    this.#directory = dirname(list);
    this.facts = parseList(list);
  }

  /** `undefined` when there is no object of that name. */
  async load(name: string): Promise<Uint8Array | undefined> {
    const listed = this.facts[name];
    if (listed === undefined) return undefined;
    const path = join(this.#directory, `${name}.bpf.o`);
    const bytes = await readFile(path).catch((error: unknown) => {
      throw failure(`read ${path}`, error);
    });
    // Plans are made from what the list says: another program under its name would be in force unseen.
    if (createHash("sha256").update(bytes).digest("hex") === listed.digest) return bytes;
    throw new KernelError(
      `read ${path}: it is not the object that the list beside it names; restart the daemon after building`,
      {
        code: "stale",
        call: "READ",
        retry: "when-changed",
      },
    );
  }
}

function parseList(list: string): NodeFacts["objects"] {
  try {
    const value = JSON.parse(readFileSync(list, "utf8")) as unknown;
    if (typeof value !== "object" || value === null) throw new TypeError("it is no JSON object");
    const entries = Object.entries(value).map(([name, each]: [string, unknown]): [string, ObjectFacts] => {
      const isEntry = typeof each === "object" && each !== null && "digest" in each && typeof each.digest === "string";
      if (!isEntry || !/^[\w-]+$/.test(name)) throw new TypeError(`entry ${JSON.stringify(name)} has no digest`);
      const layout = "layout" in each && typeof each.layout === "string" ? { layout: each.layout } : {};
      return [name, { digest: each.digest as string, ...layout }];
    });
    return Object.fromEntries(entries);
  } catch (error) {
    throw failure(`read ${list}`, error);
  }
}

function failure(what: string, cause: unknown): KernelError {
  const isMissing = (cause as NodeJS.ErrnoException).code === "ENOENT";
  const said = isMissing ? "it is not there (ENOENT)" : errorText(cause);
  return new KernelError(`${what}: ${said}; build the BPF objects with \`make setup\``, {
    code: isMissing ? "not-found" : "invalid",
    call: "READ",
    retry: "when-changed",
    cause,
  });
}
