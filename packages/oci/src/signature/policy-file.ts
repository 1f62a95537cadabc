import { createPublicKey } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { ok, refused } from "@bpfleet/base";
import type { Issue, Position, Result } from "@bpfleet/base";
import { TrustedRoot } from "@sigstore/protobuf-specs";
import Type from "typebox";
import type { Static } from "typebox";
import { Value } from "typebox/value";
import { isMap, isNode, isPair, isScalar, LineCounter, parseDocument } from "yaml";
import type { Document } from "yaml";
import { isJsonObject } from "../json-object.ts";
import type { JsonObject } from "../json-object.ts";
import { openPolicy } from "./policy.ts";
import type { Accepted, ImagePolicy, SignatureRule } from "./policy.ts";

const mode = Type.Enum(["required", "warn", "off"]);

const key = Type.Object(
  {
    name: Type.String({ minLength: 1 }),
    pem: Type.Optional(Type.String({ minLength: 1 })),
    file: Type.Optional(Type.String({ minLength: 1 })),
    transparencyLog: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);

const identity = Type.Object(
  {
    name: Type.Optional(Type.String({ minLength: 1 })),
    issuer: Type.String({ minLength: 1 }),
    subject: Type.Optional(Type.String({ minLength: 1 })),
    subjectPattern: Type.Optional(Type.String({ minLength: 1 })),
    transparencyLog: Type.Optional(Type.Boolean()),
    certificateLog: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);

const accept = Type.Object(
  { keys: Type.Optional(Type.Array(key)), identities: Type.Optional(Type.Array(identity)) },
  { additionalProperties: false },
);

/** The file as it is written; docs/guides/images.md explains each field. */
export const policyFileSchema = Type.Object(
  {
    apiVersion: Type.Enum(["bpfleet.io/v1alpha1"]),
    kind: Type.Enum(["ImagePolicy"]),
    trustedRoot: Type.Optional(Type.String({ minLength: 1 })),
    default: Type.Optional(Type.Object({ mode, accept: Type.Optional(accept) }, { additionalProperties: false })),
    rules: Type.Optional(
      Type.Array(
        Type.Object(
          { images: Type.Array(Type.String({ minLength: 1 }), { minItems: 1 }), mode, accept: Type.Optional(accept) },
          { additionalProperties: false },
        ),
      ),
    ),
  },
  { additionalProperties: false },
);

export type PolicyFile = Static<typeof policyFileSchema>;

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
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: "silent" });
  const reader = new PolicyReader(path, read, document, lines);
  for (const { code, message, pos } of document.errors)
    reader.say("", code.toLowerCase().replaceAll("_", "-"), message, pos[0]);
  if (reader.issues.length > 0) return refused(reader.sorted());
  const value: unknown = document.toJS({ maxAliasCount: 100 });
  for (const error of Value.Errors(policyFileSchema, value)) {
    // The same field is told once more as an unknown one.
    if (error.keyword === "boolean") continue;
    const [place, message] = placeOf(error);
    reader.say(place, error.keyword, message);
  }
  if (reader.issues.length > 0) return refused(reader.sorted());
  const policy = await reader.policy(value as PolicyFile);
  return reader.issues.length > 0 ? refused(reader.sorted()) : ok(policy);
}

function placeOf(error: {
  readonly instancePath: string;
  readonly keyword: string;
  readonly message: string;
  readonly params: object;
}): [string, string] {
  const params = error.params as {
    readonly requiredProperties?: readonly string[];
    readonly additionalProperties?: readonly string[];
    readonly allowedValues?: readonly unknown[];
  };
  const [unknown] = params.additionalProperties ?? [];
  if (unknown !== undefined) return [`${error.instancePath}/${unknown}`, "unknown field"];
  const [missing] = params.requiredProperties ?? [];
  if (missing !== undefined) return [`${error.instancePath}/${missing}`, "is required"];
  if (params.allowedValues !== undefined)
    return [error.instancePath, `must be one of ${params.allowedValues.join(", ")}`];
  return [error.instancePath, error.message];
}

class PolicyReader {
  readonly issues: Issue[] = [];
  readonly #path: string;
  readonly #read: ReadFile;
  readonly #document: Document;
  readonly #lines: LineCounter;

  constructor(path: string, read: ReadFile, document: Document, lines: LineCounter) {
    this.#path = path;
    this.#read = read;
    this.#document = document;
    this.#lines = lines;
  }

  say(place: string, code: string, message: string, offset = this.#offsetOf(place)): void {
    const { line, col } = this.#lines.linePos(offset);
    const position: Position = { file: this.#path, line, column: col };
    const name = place
      .replace(/^\//, "")
      .replaceAll(/\/(\d+)(?=\/|$)/g, "[$1]")
      .replaceAll("/", ".");
    this.issues.push({
      path: place,
      code,
      message: name === "" ? message : `${name}: ${message}`,
      severity: "error",
      position,
    });
  }

  /** From the top of the file to its end. */
  sorted(): readonly Issue[] {
    return this.issues.toSorted((a, b) => (a.position?.line ?? 0) - (b.position?.line ?? 0));
  }

  async policy(file: PolicyFile): Promise<ImagePolicy> {
    const root = file.trustedRoot === undefined ? undefined : await this.#trustedRoot(file.trustedRoot);
    const rules: SignatureRule[] = [];
    for (const [at, rule] of (file.rules ?? []).entries())
      rules.push({ images: rule.images, mode: rule.mode, accept: await this.#accept(rule, `/rules/${at}`, root) });
    const otherwise = file.default ?? { mode: "off" };
    return { rules, default: { mode: otherwise.mode, accept: await this.#accept(otherwise, "/default", root) } };
  }

  async #accept(
    rule: { readonly mode: SignatureRule["mode"]; readonly accept?: Static<typeof accept> },
    place: string,
    root: JsonObject | undefined,
  ): Promise<readonly Accepted[]> {
    const { keys = [], identities = [] } = rule.accept ?? {};
    const accepted: Accepted[] = [];
    for (const [at, each] of keys.entries()) {
      const found = await this.#key(each, `${place}/accept/keys/${at}`, root);
      if (found !== undefined) accepted.push(found);
    }
    for (const [at, each] of identities.entries()) {
      const found = this.#identity(each, `${place}/accept/identities/${at}`, root);
      if (found !== undefined) accepted.push(found);
    }
    if (rule.mode !== "off" && keys.length + identities.length === 0)
      this.say(`${place}/accept`, "required", `is required with mode ${rule.mode}: keys or identities that may sign`);
    return accepted;
  }

  async #key(
    { name, pem, file, transparencyLog = false }: Static<typeof key>,
    place: string,
    root: JsonObject | undefined,
  ) {
    if ((pem === undefined) === (file === undefined)) {
      this.say(place, "invalid", "must have either pem or file");
      return undefined;
    }
    const text = pem ?? (await this.#text(file ?? "", `${place}/file`));
    if (text === undefined) return undefined;
    try {
      createPublicKey(text);
    } catch {
      this.say(`${place}/${pem === undefined ? "file" : "pem"}`, "format", "must be a public key in PEM");
      return undefined;
    }
    if (text.includes("PRIVATE KEY"))
      this.say(
        `${place}/${pem === undefined ? "file" : "pem"}`,
        "format",
        "is a private key; give the public one, and keep this one off the nodes",
      );
    if (transparencyLog && root === undefined)
      this.say(`${place}/transparencyLog`, "required", "needs a trustedRoot in this file, which names the logs");
    return { kind: "key", name, pem: text, needsTransparencyLog: transparencyLog, trustedRoot: root } as const;
  }

  #identity(each: Static<typeof identity>, place: string, root: JsonObject | undefined): Accepted | undefined {
    const { issuer, subject, subjectPattern, transparencyLog = true, certificateLog = true } = each;
    if ((subject === undefined) === (subjectPattern === undefined)) {
      this.say(place, "invalid", "must have either subject or subjectPattern");
      return undefined;
    }
    if (root === undefined) {
      this.say(place, "required", "needs a trustedRoot in this file, which names the authorities");
      return undefined;
    }
    let wanted: string | RegExp;
    try {
      wanted = subject ?? new RegExp(subjectPattern ?? "", "u");
    } catch {
      this.say(`${place}/subjectPattern`, "pattern", "must be a regular expression");
      return undefined;
    }
    return {
      kind: "identity",
      name: each.name ?? subject ?? subjectPattern ?? "",
      issuer,
      subject: wanted,
      needsTransparencyLog: transparencyLog,
      needsCertificateLog: certificateLog,
      trustedRoot: root,
    };
  }

  async #trustedRoot(file: string): Promise<JsonObject | undefined> {
    const text = await this.#text(file, "/trustedRoot");
    if (text === undefined) return undefined;
    try {
      const root: unknown = JSON.parse(text);
      if (isJsonObject(root) && TrustedRoot.fromJSON(root).certificateAuthorities.length > 0) return root;
    } catch {
      // Said below: why it cannot be read matters less than what it must be.
    }
    this.say("/trustedRoot", "format", `${file} must be a trusted_root.json of Sigstore with certificateAuthorities`);
    return undefined;
  }

  async #text(file: string, place: string): Promise<string | undefined> {
    const path = resolve(dirname(this.#path), file);
    try {
      return await this.#read(path);
    } catch (cause) {
      this.say(place, "unreadable", `read ${path}: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`);
      return undefined;
    }
  }

  /** Where a value stands, or the nearest that is there above it. */
  #offsetOf(place: string): number {
    const keys = place.split("/").slice(1);
    for (let length = keys.length; length >= 0; length--) {
      const path = keys.slice(0, length).map((each) => (/^\d+$/.test(each) ? Number(each) : each));
      const last = path.at(-1);
      const parent = this.#document.getIn(path.slice(0, -1), true);
      const pair = isMap(parent)
        ? parent.items.find((item) => isPair(item) && isScalar(item.key) && item.key.value === last)
        : undefined;
      const node = pair?.key ?? this.#document.getIn(path, true);
      if (isNode(node) && node.range) return node.range[0];
    }
    return 0;
  }
}
