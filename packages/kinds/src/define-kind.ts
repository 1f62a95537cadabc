import type { Issue, ObjectRef, Position, Result } from "@bpfleet/base";
import { isRecord, ok, refused } from "@bpfleet/base";
import type { TSchema } from "typebox";
import type { KindAccess } from "./access.ts";
import { aggregateStatus, type FleetOutcome } from "./aggregate.ts";
import type {
  Closing,
  Column,
  Kind,
  KubeObject,
  Lowered,
  ObjectMeta,
  Outcome,
  Parsed,
  RefusedObject,
  ResourceView,
} from "./kind.ts";
import { admitMetadata } from "./metadata.ts";
import { admit, describe, IssueList, type UnknownFieldMeaning } from "./schema/admit.ts";
import { renderCrd } from "./schema/crd.ts";

/** What the folder of a kind says; `defineKind` makes the kind of it. */
export interface KindSource<T extends KubeObject> {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly scope: Kind["scope"];
  readonly description: string;
  readonly columns: readonly Column[];
  readonly access: readonly KindAccess[];
  /** Conditions with what they say, for the reference page. */
  readonly conditions: Readonly<Record<string, string>>;
  /** Left out by kinds that have no spec: all they say is status. */
  readonly specSchema?: TSchema | undefined;
  /** Of a list beside `spec`, for kinds of which one object may say several things: either may be left out, not both. */
  readonly specsSchema?: TSchema | undefined;
  /** Left out by kinds of which nobody reports anything. */
  readonly statusSchema?: TSchema | undefined;
  /** False for kinds that Kubernetes itself defines: no CRD, and their `spec` is not ours to judge. */
  readonly isOurs: boolean;
  /** For kinds of Kubernetes that we serve: their `spec` is admitted all the same. */
  readonly admitsSpec?: boolean | undefined;
  /** What neither a field's schema nor a rule can say, and warnings. A field may be of the wrong type where `found` is not sound. */
  check?(object: T, found: IssueList): void;
  lower(parsed: Parsed<T>, view: ResourceView): Lowered;
  /** For kinds whose objects say who may talk to whom. */
  closeRefused?(refused: RefusedObject): Closing;
  status(parsed: Parsed<T>, outcome: Outcome): unknown;
  /** Left out: as `aggregateStatus` does it. */
  aggregate?(object: KubeObject, fleet: FleetOutcome): unknown;
  /** Numbers of the status, by JSON pointer, that are not added up over nodes: the largest stands. */
  readonly largest?: readonly string[];
  generate?(parsed: Parsed<T>, outcomeFor: (ref: ObjectRef) => Outcome): readonly KubeObject[];
  readonly madeFrom?: string;
  /** Its objects say who may talk to whom: whoever serves them has to know the pods and namespaces of the whole cluster. */
  readonly speaksOfPeers?: true;
  /** The project whose CRD this is: ours is for clusters that have none, and never replaces theirs. */
  readonly crdOwner?: "Calico" | "Cilium" | undefined;
  /** What to use instead: whoever writes an object of this kind is told. */
  readonly deprecation?: string | undefined;
  /** Of a field that is unknown; as an API server does it where left out. */
  unknownField?(path: string): UnknownFieldMeaning;
  /** Fields beside `spec` that are kept as they are, for kinds that Kubernetes defines. */
  readonly fields?: readonly string[];
}

/** A kind with its source beside it: what the generators of CRDs and reference pages read. */
export interface DefinedKind<T extends KubeObject = KubeObject> extends Kind<T> {
  readonly source: KindSource<T>;
}

export function defineKind<T extends KubeObject>(source: KindSource<T>): DefinedKind<T> {
  const { group, version, kind, plural, singular, shortNames, scope, columns, description } = source;
  return {
    group,
    version,
    kind,
    plural,
    singular,
    shortNames,
    scope,
    columns,
    description,
    source,
    parse: (value, positionOf = noPosition) => parseObject(source, value, positionOf),
    lower: (parsed, view) => source.lower(parsed, view),
    closeRefused: (refused) => source.closeRefused?.(refused),
    status: (parsed, outcome) => source.status(parsed, outcome),
    aggregate: (object, fleet) => source.aggregate?.(object, fleet) ?? aggregateStatus(source, object, fleet),
    generate: (parsed, outcomeFor) => source.generate?.(parsed, outcomeFor) ?? [],
    madeFrom: source.madeFrom,
    crd: () => (source.isOurs ? renderCrd(source) : undefined),
  };
}

export function apiVersionOf(kind: { readonly group: string; readonly version: string }): string {
  return kind.group === "" ? kind.version : `${kind.group}/${kind.version}`;
}

function noPosition(): undefined {
  return undefined;
}

function parseObject<T extends KubeObject>(
  source: KindSource<T>,
  value: unknown,
  positionOf: (path: string) => Position | undefined,
): Result<Parsed<T>> {
  const found = new IssueList(positionOf, (path) => source.unknownField?.(path) ?? "left-out");
  if (!isRecord(value)) {
    found.error("", "type", `must be an object of kind ${source.kind}, is ${describe(value)}`);
    return refused(found.issues);
  }
  const { apiVersion, kind, metadata, spec, status, ...rest } = value;
  const specs = source.specsSchema === undefined ? undefined : rest["specs"];
  if (apiVersion !== apiVersionOf(source))
    found.error("/apiVersion", "enum", `must be ${apiVersionOf(source)}, is ${describe(apiVersion)}`);
  if (kind !== source.kind) found.error("/kind", "enum", `must be ${source.kind}, is ${describe(kind)}`);
  if (source.deprecation !== undefined)
    found.warning("/kind", "deprecated-kind", `${source.kind} is deprecated; ${source.deprecation}`);
  const meta = admitMetadata(metadata, source.scope, found);
  const own = (source.fields ?? []).filter((name) => rest[name] !== undefined).map((name) => [name, rest[name]]);
  const known = [...(source.fields ?? []), ...(source.specsSchema === undefined ? [] : ["specs"])];
  for (const name of Object.keys(rest))
    if (!known.includes(name)) found.warning(`/${name}`, "unknown-field", "unknown field, left out");
  const admitted = { ...admitSpec(source, spec, specs, found), ...admitSpecs(source, specs, found) };
  const object = {
    apiVersion: apiVersionOf(source),
    kind: source.kind,
    metadata: meta,
    ...Object.fromEntries(own),
    ...admitted,
    ...(status === undefined ? {} : { status }),
  } as unknown as T;
  if (isCheckable(source, admitted)) source.check?.(object, found);
  const issues = found.issues.toSorted(byPosition);
  if (found.hasErrors) return refused(issues);
  const parsed = { object, ref: refOf(source, meta), positionOf };
  return ok(found.closing.length === 0 ? parsed : { ...parsed, unknown: found.closing }, issues);
}

function byPosition(a: Issue, b: Issue): number {
  if (a.position === undefined || b.position === undefined) return 0;
  return a.position.line - b.position.line || a.position.column - b.position.column;
}

type SpecSource = Pick<KindSource<KubeObject>, "isOurs" | "admitsSpec" | "specSchema" | "specsSchema">;

interface Admitted {
  readonly spec?: unknown;
  readonly specs?: unknown;
}

/** Without a spec there is nothing to check where one is needed. */
function isCheckable(source: SpecSource, { spec, specs }: Admitted): boolean {
  if (!source.isOurs && source.admitsSpec !== true) return true;
  return source.specSchema === undefined || isRecord(spec) || Array.isArray(specs);
}

function admitSpec(source: SpecSource, spec: unknown, specs: unknown, found: IssueList): Admitted {
  if (!source.isOurs && source.admitsSpec !== true) return spec === undefined ? {} : { spec };
  if (source.specSchema === undefined) {
    if (spec !== undefined) found.warning("/spec", "unknown-field", "unknown field, left out");
    return {};
  }
  if (spec === undefined || spec === null) {
    if (specs === undefined || specs === null) found.error("/spec", "required", "is required");
    return {};
  }
  return { spec: admit(source.specSchema, spec, "/spec", found) };
}

function admitSpecs({ specsSchema }: SpecSource, specs: unknown, found: IssueList): Admitted {
  if (specsSchema === undefined || specs === undefined || specs === null) return {};
  return { specs: admit(specsSchema, specs, "/specs", found) };
}

function refOf(
  source: { readonly group: string; readonly kind: string; readonly scope: Kind["scope"] },
  metadata: ObjectMeta,
): Parsed["ref"] {
  const namespace = source.scope === "Cluster" ? "" : (metadata.namespace ?? "default");
  return { group: source.group, kind: source.kind, namespace, name: metadata.name };
}
