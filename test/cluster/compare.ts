import assert from "node:assert/strict";
import { apiVersionOf } from "@bpfleet/kinds";
import type { DefinedKind, KubeObject } from "@bpfleet/kinds";
import type { Answer, ApiServer } from "./api-server.ts";
import type { SpecCase } from "./specs.ts";

/** Codes of what CEL does not look at: the bytes of entries, fields that may be text or an object, ranges in text. */
export const onlyOurs: ReadonlySet<string> = new Set(["duplicate-key", "bytecode", "range", "expression"]);

export function pathOf(kind: DefinedKind, rest = ""): string {
  const where = kind.scope === "Cluster" ? "" : "namespaces/default/";
  return `/apis/${kind.group}/${kind.version}/${where}${kind.plural}${rest}`;
}

export function objectOf(kind: DefinedKind, spec: unknown, name = "test"): KubeObject {
  const metadata = kind.scope === "Cluster" ? { name } : { name, namespace: "default" };
  return { apiVersion: apiVersionOf(kind), kind: kind.kind, metadata, spec };
}

/** What the API server would do with an object; nothing is kept. */
export function dryRun(api: ApiServer, kind: DefinedKind, object: unknown): Promise<Answer> {
  return api.call("POST", pathOf(kind, "?dryRun=All&fieldValidation=Ignore"), object);
}

/** Fields that the answer finds fault with, as `spec.interface`; `<nil>` only says that CEL was not reached. */
export function faultyFields(answer: Answer): readonly string[] {
  const details = answer.body["details"] as { causes?: readonly { field: string }[] } | undefined;
  return [...new Set((details?.causes ?? []).map(({ field }) => field))]
    .filter((field) => field !== "<nil>")
    .toSorted();
}

/** Checks that both decide alike, on the same fields; of ours those with a code in `ours` do not count. */
export async function compare(
  api: ApiServer,
  kind: DefinedKind,
  spec: unknown,
  ours: ReadonlySet<string> = onlyOurs,
): Promise<Answer> {
  const object = objectOf(kind, spec);
  const answer = await dryRun(api, kind, object);
  const parsed = kind.parse(object);
  const errors = parsed.issues.filter((issue) => issue.severity === "error" && !ours.has(issue.code));
  const told = `${JSON.stringify(spec)}\nAPI server: ${answer.status} ${String(answer.body["message"])}\nours: ${errors.map((issue) => issue.message).join("; ")}`;
  assert.equal(answer.status === 201, errors.length === 0, told);
  if (answer.status === 201) {
    if (parsed.ok) assert.deepEqual(parsed.value.object.spec, answer.body["spec"], told);
    return answer;
  }
  assert.equal(answer.status, 422, told);
  for (const field of faultyFields(answer)) {
    assert.ok(
      errors.some((issue) => sameField(issue.path, field)),
      `${field} is not among ours\n${told}`,
    );
  }
  return answer;
}

/** Each spec is decided alike, and its faults are in the fields that it was written to break. */
export async function compareAll(
  api: ApiServer,
  kind: DefinedKind,
  specs: readonly SpecCase[],
  ours: ReadonlySet<string> = onlyOurs,
): Promise<void> {
  for (const [spec, ...breaks] of specs) {
    const answer = await compare(api, kind, spec, ours);
    assert.deepEqual(faultyFields(answer), breaks, JSON.stringify(spec));
  }
}

/** A CEL rule of a CRD: the field that it speaks of, with `[]` for any place, and what it says. */
export interface CrdRule {
  readonly field: string;
  readonly message: string;
  /** It compares with what was before. */
  readonly isOfChange: boolean;
}

export function rulesOf(kind: DefinedKind): readonly CrdRule[] {
  const rules: CrdRule[] = [];
  const walk = (schema: CrdSchema, at: string): void => {
    for (const { rule, message, fieldPath = "" } of schema["x-kubernetes-validations"] ?? [])
      rules.push({ field: `${at}${fieldPath}`.slice(1), message, isOfChange: rule.includes("oldSelf") });
    for (const [name, field] of Object.entries(schema.properties ?? {})) walk(field, `${at}.${name}`);
    for (const items of [schema.items, schema.additionalProperties])
      if (typeof items === "object") walk(items, `${at}[]`);
  };
  walk(schemaOf(kind), "");
  return rules;
}

export interface CrdSchema {
  readonly properties?: Readonly<Record<string, CrdSchema>>;
  readonly items?: CrdSchema;
  readonly additionalProperties?: CrdSchema | boolean;
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
  readonly "x-kubernetes-validations"?: readonly {
    readonly rule: string;
    readonly message: string;
    readonly fieldPath?: string;
  }[];
}

export function schemaOf(kind: DefinedKind): CrdSchema {
  const crd = kind.crd() as { spec: { versions: readonly [{ schema: { openAPIV3Schema: CrdSchema } }] } };
  return crd.spec.versions[0].schema.openAPIV3Schema;
}

/** `spec.ports[]: Invalid value: …` for each fault that an answer names. */
export function faults(answer: Answer): readonly string[] {
  const details = answer.body["details"] as { causes?: readonly { field: string; message: string }[] } | undefined;
  return (details?.causes ?? []).map(({ field, message }) => `${field.replaceAll(/\[[^\]]*\]/g, "[]")}: ${message}`);
}

/** The API server stops at the object where a field is missing or an item of a set is doubled. */
function sameField(pointer: string, field: string): boolean {
  const path = pointer
    .slice(1)
    .replaceAll(/\/(\d+)(?=\/|$)/g, "[$1]")
    .replaceAll("/", ".");
  return path === field || path.startsWith(`${field}.`) || path.startsWith(`${field}[`) || field.startsWith(`${path}[`);
}
