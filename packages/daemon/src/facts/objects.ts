import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { KernelError } from "@bpfleet/base";
import type { NodeFacts } from "@bpfleet/kernel";
import { errorText } from "../error-text.ts";

/** One loadable object: its file beside the list. */
export interface ObjectFile {
  readonly path: string;
  /** SHA-256 of its bytes, as they are now. */
  readonly digest: string;
}

/** Reads `objects.json`: object name → file name. */
export function readObjects(list: string): Readonly<Record<string, ObjectFile>> {
  const entries = parseList(list).map(([name, file]): [string, ObjectFile] => {
    const path = join(dirname(list), file);
    return [
      name,
      {
        path,
        digest: createHash("sha256")
          .update(read(path, `object ${name}`))
          .digest("hex"),
      },
    ];
  });
  return Object.fromEntries(entries);
}

export function objectFacts(objects: Readonly<Record<string, ObjectFile>>): NodeFacts["objects"] {
  return Object.fromEntries(Object.entries(objects).map(([name, { digest }]) => [name, { digest }]));
}

function parseList(list: string): [string, string][] {
  const text = read(list, "the list of BPF objects").toString("utf8");
  try {
    const value = JSON.parse(text) as unknown;
    if (typeof value !== "object" || value === null) throw new TypeError("it is no JSON object");
    return Object.entries(value).map(([name, each]) => {
      if (typeof each !== "object" || each === null || !("file" in each) || typeof each.file !== "string")
        throw new TypeError(`entry ${name} names no file`);
      return [name, each.file];
    });
  } catch (error) {
    throw new KernelError(`read ${list}: ${errorText(error)}; build it with \`make build\``, {
      code: "invalid",
      call: "READ",
      retry: "when-changed",
      cause: error,
    });
  }
}

function read(path: string, what: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new KernelError(`read ${what}: ${errorText(error)}; build it with \`make build\``, {
      code: "not-found",
      call: "READ",
      retry: "when-changed",
      cause: error,
    });
  }
}
