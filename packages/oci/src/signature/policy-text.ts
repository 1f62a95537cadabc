import { createPublicKey } from "node:crypto";
import { ok, refused } from "@bpfleet/base";
import type { Issue, Position, Result } from "@bpfleet/base";
import Type from "typebox";
import type { Static } from "typebox";
import { Value } from "typebox/value";
import { isMap, isNode, isPair, isScalar, LineCounter, parseDocument } from "yaml";
import type { Document } from "yaml";
import type { JsonObject } from "../json-object.ts";
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
const policyFileSchema = Type.Object(
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

/** What is known of a file that the policy names. */
export interface NamedFiles {
  readonly key: (file: string) => string | Unusable | undefined;
  readonly root: (file: string) => JsonObject | Unusable | undefined;
}

/** Why it is of no use. */
export class Unusable {
  readonly code: string;
  readonly message: string;

  constructor(code: string, message: string) {
    this.code = code;
    this.message = message;
  }
}

/** Files of another machine: what stands in them is not looked at. */
const unseenFiles: NamedFiles = { key: () => undefined, root: () => ({}) };

/** Every mistake of the text alone; the files that it names may be elsewhere. */
export function checkPolicyText(text: string, path: string): readonly Issue[] {
  return readPolicyText(text, path, unseenFiles).issues;
}

/** The files that a policy names, where it has the form of one. */
export function filesNamedIn(text: string): { readonly keys: readonly string[]; readonly root: string | undefined } {
  const { value } = readForm(text, "");
  if (value === undefined) return { keys: [], root: undefined };
  const rules = [...(value.rules ?? []), ...(value.default === undefined ? [] : [value.default])];
  const keys = rules.flatMap((rule) => rule.accept?.keys ?? []);
  return {
    keys: keys.flatMap(({ file, pem }) => (file === undefined || pem !== undefined ? [] : [file])),
    root: value.trustedRoot,
  };
}

/** `path` is the file's own, for messages. */
export function readPolicyText(text: string, path: string, files: NamedFiles): Result<ImagePolicy> {
  const { reader, value } = readForm(text, path);
  const policy = value === undefined ? undefined : reader.policy(value, files);
  return policy === undefined || reader.issues.length > 0 ? refused(reader.sorted()) : ok(policy);
}

function readForm(
  text: string,
  path: string,
): { readonly reader: PolicyReader; readonly value: PolicyFile | undefined } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: "silent" });
  const reader = new PolicyReader(path, document, lines);
  for (const { code, message, pos } of document.errors)
    reader.say("", code.toLowerCase().replaceAll("_", "-"), message, pos[0]);
  if (reader.issues.length > 0) return { reader, value: undefined };
  const value: unknown = document.toJS({ maxAliasCount: 100 });
  for (const error of Value.Errors(policyFileSchema, value)) {
    // The same field is told once more as an unknown one.
    if (error.keyword === "boolean") continue;
    const [place, message] = placeOf(error);
    reader.say(place, error.keyword, message);
  }
  return { reader, value: reader.issues.length > 0 ? undefined : (value as PolicyFile) };
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
  readonly #document: Document;
  readonly #lines: LineCounter;

  constructor(path: string, document: Document, lines: LineCounter) {
    this.#path = path;
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

  policy(file: PolicyFile, files: NamedFiles): ImagePolicy {
    const root = file.trustedRoot === undefined ? undefined : this.#trustedRoot(file.trustedRoot, files);
    const rules = (file.rules ?? []).map((rule, at): SignatureRule => ({
      images: rule.images,
      mode: rule.mode,
      accept: this.#accept(rule, `/rules/${at}`, root, files),
    }));
    const otherwise = file.default ?? { mode: "off" };
    return { rules, default: { mode: otherwise.mode, accept: this.#accept(otherwise, "/default", root, files) } };
  }

  #accept(
    rule: { readonly mode: SignatureRule["mode"]; readonly accept?: Static<typeof accept> },
    place: string,
    root: JsonObject | undefined,
    files: NamedFiles,
  ): readonly Accepted[] {
    const { keys = [], identities = [] } = rule.accept ?? {};
    const accepted: Accepted[] = [];
    for (const [at, each] of keys.entries()) {
      const found = this.#key(each, `${place}/accept/keys/${at}`, root, files);
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

  #key(
    { name, pem, file, transparencyLog = false }: Static<typeof key>,
    place: string,
    root: JsonObject | undefined,
    files: NamedFiles,
  ): Accepted | undefined {
    if ((pem === undefined) === (file === undefined)) {
      this.say(place, "invalid", "must have either pem or file");
      return undefined;
    }
    const text = pem ?? this.#usable(files.key(file ?? ""), `${place}/file`);
    if (text === undefined) {
      if (transparencyLog && root === undefined) this.#needsRoot(place);
      return undefined;
    }
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
    if (transparencyLog && root === undefined) this.#needsRoot(place);
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

  #trustedRoot(file: string, files: NamedFiles): JsonObject | undefined {
    return this.#usable(files.root(file), "/trustedRoot");
  }

  #needsRoot(place: string): void {
    this.say(`${place}/transparencyLog`, "required", "needs a trustedRoot in this file, which names the logs");
  }

  #usable<T extends string | JsonObject>(found: T | Unusable | undefined, place: string): T | undefined {
    if (!(found instanceof Unusable)) return found;
    this.say(place, found.code, found.message);
    return undefined;
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
