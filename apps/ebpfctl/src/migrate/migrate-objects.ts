import { refKey, renderRef, type Issue, type ObjectRef } from "@bpfleet/base";
import {
  comparePolicies,
  type HostIntent,
  type PolicyComparison,
  type PolicyDifference,
  type PolicyFeatureIntent,
  type PolicyIntent,
  type WorkloadIntent,
} from "@bpfleet/features";
import {
  apiVersionOf,
  findKind,
  kinds,
  migrateNetworkPolicy,
  type EBPFNetworkPolicy,
  type Migration,
  type Parsed,
  type ResourceView,
} from "@bpfleet/kinds";

/** One object and its image. */
export interface Migrated extends Migration {
  readonly parsed: Parsed<EBPFNetworkPolicy>;
}

export interface MigratedObjects {
  /** Of those that have an image, and those that have none. */
  readonly migrated: readonly Migrated[];
  /** Those whose image may be put in force. */
  readonly written: readonly Migrated[];
  readonly issues: readonly Issue[];
  readonly comparison: PolicyComparison;
}

/** Converts every EBPFNetworkPolicy among the objects, and compares what holds of all of them before and after. */
export function migrateObjects(objects: readonly Parsed[]): MigratedObjects {
  const migrated = objects.filter(isOldPolicy).map((parsed): Migrated => {
    const migration = migrateNetworkPolicy(parsed);
    const { object } = migration;
    const taken =
      object === undefined ? undefined : objects.find(({ ref }) => refKey(ref) === refKey(refOfNew(object)));
    if (taken === undefined) return { parsed, ...migration };
    const message = `metadata.name: there is a ${taken.ref.kind} of this name already; rename one of them`;
    const issue = {
      path: "/metadata/name",
      code: "taken",
      severity: "error",
      message,
      position: parsed.positionOf("/metadata/name"),
    } as const;
    return { parsed, object: undefined, rules: [], issues: [...migration.issues, issue] };
  });
  const replaced = new Set(
    migrated.flatMap(({ object, parsed, issues }) =>
      object === undefined && issues.some(({ severity }) => severity === "error") ? [] : [refKey(parsed.ref)],
    ),
  );
  const renewed = migrated.flatMap(({ object }) => (object === undefined ? [] : [parseNew(object)]));
  const before = lowerAll(objects);
  const after = lowerAll([...objects.filter(({ ref }) => !replaced.has(refKey(ref))), ...renewed]);
  const comparison = comparePolicies({
    before: before.filter(isPolicy),
    after: after.filter(isPolicy),
    workloads: before.filter((intent): intent is WorkloadIntent => intent.about === "workload"),
    hosts: before.filter((intent): intent is HostIntent => intent.about === "host"),
  });
  const lost = findLostOrders(comparison.differences, migrated);
  const written = migrated.filter(({ object, parsed }) => object !== undefined && !lost.has(parsed));
  return {
    migrated,
    written,
    issues: [...migrated.flatMap((each) => each.issues), ...[...lost.values()].flat()],
    comparison,
  };
}

export function isOldPolicy(parsed: Parsed): parsed is Parsed<EBPFNetworkPolicy> {
  return parsed.ref.group === "networking.fos1.io" && parsed.ref.kind === "EBPFNetworkPolicy";
}

function isPolicy(intent: PolicyFeatureIntent): intent is PolicyIntent {
  return intent.about === "policy";
}

type NewObject = NonNullable<Migration["object"]>;

function refOfNew({ kind, metadata }: NewObject): ObjectRef {
  return { group: "cilium.io", kind, namespace: metadata.namespace ?? "", name: metadata.name };
}

function parseNew(object: NewObject): Parsed {
  const result = findKind(object.apiVersion, object.kind)?.parse(object);
  if (result?.ok === true) return result.value;
  throw new TypeError(
    `${renderRef(refOfNew(object))} is not sound: ${result?.issues.map(({ message }) => message).join("; ")}`,
  );
}

/** What the policy feature is told of all of them. */
function lowerAll(objects: readonly Parsed[]): readonly PolicyFeatureIntent[] {
  const byKey = new Map(objects.map((parsed) => [refKey(parsed.ref), parsed]));
  const view: ResourceView = {
    find: (ref) => byKey.get(refKey(ref)),
    list: (group, kind, namespace) =>
      objects.filter(
        ({ ref }) =>
          ref.group === group && ref.kind === kind && (namespace === undefined || ref.namespace === namespace),
      ),
    node: { name: "", labels: {}, internalIps: [] },
  };
  return objects.flatMap((parsed) => {
    const kind = kinds.find((each) => each.kind === parsed.ref.kind && apiVersionOf(each) === parsed.object.apiVersion);
    const intents = kind?.lower(parsed, view).intents ?? [];
    return intents.filter((intent): intent is PolicyFeatureIntent => intent.feature === "policy");
  });
}

/** Rules that deny, which Cilium asks before those that allow, and the old policy after them. */
function findLostOrders(
  differences: readonly PolicyDifference[],
  migrated: readonly Migrated[],
): ReadonlyMap<Parsed, readonly Issue[]> {
  const lost = new Map<Parsed, Map<string, Issue>>();
  for (const { before, after } of differences) {
    if (before.rule === undefined || after.rule === undefined || after.verdict !== "drop") continue;
    const { object: old, path: allowing } = before.rule.origin;
    const { object: renewed, path } = after.rule.origin;
    const source = migrated.find(({ object }) => object !== undefined && refKey(refOfNew(object)) === refKey(renewed));
    const denying = source?.rules.find((rule) => rule.path === path)?.from;
    if (source === undefined || denying === undefined || refKey(source.parsed.ref) !== refKey(old)) continue;
    const position = source.parsed.positionOf(denying);
    const message = `${nameOf(denying)}: is asked after ${nameOf(allowing)}, which lets pass some of what it denies; this order has no image, since of Cilium's rules those that deny come first`;
    const issues = lost.get(source.parsed) ?? new Map<string, Issue>();
    issues.set(`${denying} ${allowing}`, { path: denying, code: "order", severity: "error", message, position });
    lost.set(source.parsed, issues);
  }
  return new Map([...lost].map(([parsed, issues]) => [parsed, [...issues.values()]]));
}

function nameOf(path: string): string {
  return path
    .slice(1)
    .replaceAll(/\/(\d+)/g, "[$1]")
    .replaceAll("/", ".");
}
