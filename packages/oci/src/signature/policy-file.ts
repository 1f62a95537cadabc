import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { isRecord, ok, refused } from "@bpfleet/base";
import type { Result } from "@bpfleet/base";
import { TrustedRoot } from "@sigstore/protobuf-specs";
import type { JsonObject } from "../json-object.ts";
import { openPolicy } from "./policy.ts";
import type { ImagePolicy } from "./policy.ts";
import { filesNamedIn, readPolicyText, Unusable } from "./policy-text.ts";

/** Reads a file that the policy names. Throws what the file system says. */
export type ReadFile = (path: string) => Promise<string>;

/** The policy of a node that may have none: then nobody looks at signatures. */
export async function loadNodePolicy(path: string): Promise<Result<ImagePolicy>> {
  const loaded = await loadImagePolicy(path);
  return loaded.issues.some(({ code }) => code === "absent") ? ok(openPolicy) : loaded;
}

/** The policy of a node from its file, with the keys and the trusted root that it names; every mistake at once. */
export async function loadImagePolicy(path: string): Promise<Result<ImagePolicy>> {
  const read: ReadFile = (file) => readFile(file, "utf8");
  try {
    return await parseImagePolicy(await read(path), path, read);
  } catch (cause) {
    const errno = (cause as NodeJS.ErrnoException).code;
    if (errno === undefined) throw cause;
    const code = errno === "ENOENT" ? "absent" : "unreadable";
    return refused([{ path: "", code, message: `read ${path}: ${errno}`, severity: "error" }]);
  }
}

/** `path` is the file's own, for messages and for the relative paths in it. */
export async function parseImagePolicy(text: string, path: string, read: ReadFile): Promise<Result<ImagePolicy>> {
  const { keys, root } = filesNamedIn(text);
  const names = [...new Set([...keys, ...(root === undefined ? [] : [root])])];
  const texts = new Map<string, string | Unusable>();
  for (const name of names) texts.set(name, await textOf(resolve(dirname(path), name), read));
  return readPolicyText(text, path, {
    key: (file) => texts.get(file),
    root: (file) => rootOf(file, texts.get(file)),
  });
}

async function textOf(path: string, read: ReadFile): Promise<string | Unusable> {
  try {
    return await read(path);
  } catch (cause) {
    return new Unusable("unreadable", `read ${path}: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`);
  }
}

function rootOf(file: string, text: string | Unusable | undefined): JsonObject | Unusable | undefined {
  if (typeof text !== "string") return text;
  try {
    const root: unknown = JSON.parse(text);
    if (isRecord(root) && TrustedRoot.fromJSON(root).certificateAuthorities.length > 0) return root;
  } catch {
    // Said below: why it cannot be read matters less than what it must be.
  }
  return new Unusable("format", `${file} must be a trusted_root.json of Sigstore with certificateAuthorities`);
}
