import { isRecord } from "@bpfleet/base";
import type { AnyObject } from "@bpfleet/kube";

/**
 * A set of fields as `metadata.managedFields` names them: `f:NAME` a field, `k:{…}` the item of a list with these keys,
 * `v:…` an item that is its value, `i:N` an item by its place, `.` the field itself.
 * https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
 */
export interface FieldSet {
  readonly [step: string]: FieldSet;
}

interface ManagerEntry {
  readonly manager?: string;
  readonly operation?: string;
  readonly subresource?: string;
  readonly fieldsV1?: FieldSet;
}

/** The fields that a manager owns by server-side apply. */
export function appliedFields(object: AnyObject, manager: string): FieldSet | undefined {
  return entriesOf(object).find((entry) => entry.manager === manager && entry.operation === "Apply" && isWhole(entry))
    ?.fieldsV1;
}

/** Whether the manager has put the object as a whole and still owns fields by that, which applying does not take away. */
export function isPutBy(object: AnyObject, manager: string): boolean {
  return entriesOf(object).some((entry) => entry.manager === manager && entry.operation === "Update" && isWhole(entry));
}

/** Fields below `roots` that others own and are not among the manager's `own`: what somebody added by hand. */
export function foreignFields(
  object: AnyObject,
  manager: string,
  roots: readonly string[],
  own: FieldSet = appliedFields(object, manager) ?? {},
): readonly string[] {
  const others = entriesOf(object).filter((entry) => entry.manager !== manager && isWhole(entry));
  const paths = others.flatMap(({ fieldsV1 = {} }) =>
    roots.flatMap((root) => {
      const step = `f:${root}`;
      return addedPaths(fieldsV1[step], own[step], root);
    }),
  );
  return [...new Set(paths)].toSorted();
}

/** The values of the fields in a set; equal texts for equal values, whatever else the object has. */
export function projectFields(value: unknown, fields: FieldSet): string {
  return JSON.stringify(project(value, fields)) ?? "null";
}

function entriesOf({ metadata }: AnyObject): readonly ManagerEntry[] {
  return (metadata.managedFields ?? []) as readonly ManagerEntry[];
}

/** Of the object itself, not of its status. */
function isWhole({ subresource }: ManagerEntry): boolean {
  return subresource === undefined || subresource === "";
}

function stepsOf(fields: FieldSet): readonly string[] {
  return Object.keys(fields).filter((step) => step !== ".");
}

function addedPaths(theirs: FieldSet | undefined, own: FieldSet | undefined, path: string): readonly string[] {
  if (theirs === undefined) return [];
  const steps = stepsOf(theirs);
  if (steps.length === 0) return own === undefined ? [path] : [];
  return steps.flatMap((step) => {
    const [added, kept, below] = [theirs[step], own?.[step], `${path}.${renderStep(step)}`];
    // An item that is wholly theirs is named once, not by each of its fields.
    const isWhollyTheirs = kept === undefined && step.startsWith("k:") && added?.["."] !== undefined;
    return isWhollyTheirs ? [below] : addedPaths(added, kept, below);
  });
}

function renderStep(step: string): string {
  return step.startsWith("f:") ? step.slice(2) : `[${step.slice(2)}]`;
}

function project(value: unknown, fields: FieldSet): unknown {
  const steps = stepsOf(fields);
  if (steps.length === 0) return canonical(value);
  return steps.toSorted().map((step) => [step, project(find(value, step), fields[step] ?? {})]);
}

function find(value: unknown, step: string): unknown {
  const rest = step.slice(2);
  if (step.startsWith("f:")) return isRecord(value) && Object.hasOwn(value, rest) ? value[rest] : undefined;
  if (!Array.isArray(value)) return undefined;
  if (step.startsWith("i:")) return value[Number(rest)];
  const wanted = JSON.parse(rest) as unknown;
  if (step.startsWith("v:")) return value.find((item) => item === wanted);
  if (!isRecord(wanted)) return undefined;
  const keys = Object.entries(wanted);
  return value.find((item) => isRecord(item) && keys.every(([name, key]) => matchesKey(item[name], name, key)));
}

/** Keys that the server defaults may be missing from what it hands out. */
function matchesKey(value: unknown, name: string, key: unknown): boolean {
  return value === key || (value === undefined && name === "protocol" && key === "TCP");
}

function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical);
  if (!isRecord(value)) return value;
  return Object.entries(value)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, field]) => [name, canonical(field)]);
}
