import { checkRef } from "@bpfleet/agent";
import { isRecord, refKey, renderRef, type Issue, type ObjectRef, type Position } from "@bpfleet/base";
import { apiVersionOf, felixFromValues, type Kind, type Parsed } from "@bpfleet/kinds";
import type { InputObject, ReadInputs } from "./read-inputs.ts";

export interface AdmittedObject {
  readonly input: InputObject;
  readonly kind: Kind;
  readonly parsed: Parsed;
  readonly ref: ObjectRef;
  /** As written, with the namespace that it will have. */
  readonly value: unknown;
  /** What its kind says of it, which is among all issues too. */
  readonly said: readonly Issue[];
}

export interface Admission {
  readonly objects: readonly AdmittedObject[];
  /** Of all inputs together, in their order. */
  readonly issues: readonly Issue[];
}

/** Every object as its kind sees it, and every mistake of every object. `namespace` is that of `-n`, `usual` that without. */
export function admitObjects(
  inputs: ReadInputs,
  kinds: readonly Kind[],
  namespace: string | undefined,
  usual = "default",
): Admission {
  const issues: Issue[] = [...inputs.issues];
  const objects: AdmittedObject[] = [];
  const seen = new Map<string, Position>();
  for (const input of inputs.objects) {
    const admitted = admitOne(input, kinds, { namespace, usual }, issues);
    if (admitted === undefined) continue;
    const place = input.manifest.positionOf("");
    const earlier = seen.get(refKey(admitted.ref));
    if (earlier !== undefined) {
      const message = `${renderRef(admitted.ref)} is declared twice, first at ${earlier.file}:${earlier.line}; keep one`;
      issues.push({ path: "", code: "duplicate", message, severity: "error", position: place });
    }
    seen.set(refKey(admitted.ref), place);
    objects.push(admitted);
  }
  return { objects, issues };
}

function admitOne(
  input: InputObject,
  kinds: readonly Kind[],
  place: Place,
  issues: Issue[],
): AdmittedObject | undefined {
  const { manifest } = input;
  const found = kindAndNamespace(input, kinds, place, issues);
  if (found === undefined) return undefined;
  const { kind } = found;
  if (kind.madeFrom !== undefined) {
    const position = manifest.positionOf("/kind");
    issues.push({ path: "/kind", code: "made", message: madeMessage(kind), severity: "error", position });
    return undefined;
  }
  const metadata = manifest.value["metadata"];
  const value =
    kind.scope === "Namespaced" && isRecord(metadata)
      ? { ...manifest.value, metadata: { ...metadata, namespace: found.namespace } }
      : manifest.value;
  const result = kind.parse(value, manifest.positionOf);
  issues.push(...result.issues);
  if (!result.ok) return undefined;
  const unfit = checkRef(result.value.ref).map((issue) => ({ ...issue, position: manifest.positionOf(issue.path) }));
  issues.push(...unfit);
  const { value: parsed, issues: said } = result;
  return unfit.length > 0 ? undefined : { input, kind, parsed, ref: parsed.ref, value, said };
}

/** Why nobody writes or removes objects of a kind. */
export function madeMessage({ kind, madeFrom }: Kind): string {
  return `kind: ${kind} objects are for reading: bpfleet makes one of each ${madeFrom}, and removes it with that; write or delete the ${madeFrom}`;
}

/** Which objects are meant, whatever else is wrong with them: enough to remove them. */
export function identifyObjects(
  inputs: ReadInputs,
  kinds: readonly Kind[],
  namespace: string | undefined,
  usual = "default",
): { readonly objects: readonly Pick<AdmittedObject, "kind" | "ref">[]; readonly issues: readonly Issue[] } {
  const issues: Issue[] = [...inputs.issues];
  const objects: Pick<AdmittedObject, "kind" | "ref">[] = [];
  for (const input of inputs.objects) {
    const found = kindAndNamespace(input, kinds, { namespace, usual }, issues);
    if (found === undefined) continue;
    const { kind } = found;
    if (kind.madeFrom !== undefined) {
      const position = input.manifest.positionOf("/kind");
      issues.push({ path: "/kind", code: "made", message: madeMessage(kind), severity: "error", position });
      continue;
    }
    const ref = {
      group: kind.group,
      kind: kind.kind,
      namespace: kind.scope === "Cluster" ? "" : found.namespace,
      name: input.manifest.name,
    };
    const unfit = checkRef(ref).map((issue) => ({ ...issue, position: input.manifest.positionOf(issue.path) }));
    issues.push(...unfit);
    if (unfit.length === 0) objects.push({ kind, ref });
  }
  return { objects, issues };
}

interface Place {
  readonly namespace: string | undefined;
  readonly usual: string;
}

function kindAndNamespace(
  { manifest }: InputObject,
  kinds: readonly Kind[],
  { namespace, usual }: Place,
  issues: Issue[],
): { readonly kind: Kind; readonly namespace: string } | undefined {
  const refuse = (path: string, code: string, message: string): undefined => {
    issues.push({ path, code, message, severity: "error", position: manifest.positionOf(path) });
    return undefined;
  };
  if (manifest.apiVersion === "") {
    const values = felixFromValues(manifest.value);
    const so =
      values === undefined ? "" : "; settings of a values file go below spec of a FelixConfiguration named default";
    return refuse("/apiVersion", "required", `apiVersion: is not set${so}`);
  }
  if (manifest.kind === "") return refuse("/kind", "required", "kind: is not set");
  const kind = kinds.find(
    (candidate) => candidate.kind === manifest.kind && apiVersionOf(candidate) === manifest.apiVersion,
  );
  if (kind === undefined)
    return refuse("/kind", "unknown-kind", unknownKind(manifest.apiVersion, manifest.kind, kinds));
  const own = manifest.namespace;
  if (kind.scope === "Namespaced" && namespace !== undefined && own !== undefined && own !== namespace) {
    return refuse(
      "/metadata/namespace",
      "namespace",
      `the namespace from the provided object "${own}" does not match the namespace "${namespace}"; pass '--namespace=${own}' to perform this operation`,
    );
  }
  return { kind, namespace: own ?? namespace ?? usual };
}

function unknownKind(apiVersion: string, name: string, kinds: readonly Kind[]): string {
  const sentence = `no matches for kind "${name}" in version "${apiVersion}"`;
  const sameName = kinds
    .filter((kind) => kind.kind.toLowerCase() === name.toLowerCase())
    .map((kind) => `${kind.kind} in ${apiVersionOf(kind)}`);
  const sameGroup = kinds.filter((kind) => apiVersionOf(kind) === apiVersion).map((kind) => kind.kind);
  const offers = sameName.length > 0 ? sameName : sameGroup;
  return offers.length > 0
    ? `${sentence}; there is ${offers.join(", ")}`
    : `${sentence}; 'ebpfctl api-resources' lists what there is`;
}
