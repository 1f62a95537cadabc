import type { FeatureInstance, MapEntries, MapSpec, NodePlan } from "@bpfleet/kernel";

/** Raise it when the shape of a plan changes: an older file is then left aside until the agent speaks. */
export const planVersion = 2;

/**
 * Instances with longer lists of rules are kept without them: rules only name what was counted, and the
 * agent brings them back with its first plan.
 */
export const keptRules = 1000;

/**
 * JSON, with bytes as `{"$bytes": base64}`, 64-bit numbers as `{"$int": decimal}`, and what has a file of its own as
 * `{"$file": name}`.
 */
export function renderPlan(
  { maps, programs, instances, ...plain }: NodePlan,
  fileOf: (spec: MapSpec) => string | undefined = () => undefined,
): string {
  const shortened = maps.map((spec) => {
    const file = fileOf(spec);
    return file === undefined ? spec : { ...spec, contents: { ...spec.contents, entries: { $file: file } } };
  });
  return `{"maps":${render(shortened)},"programs":${render(programs)},"instances":[${instances.map(renderInstance).join()}],${JSON.stringify(plain).slice(1)}`;
}

/** Only what features keep there for themselves may hold bytes or 64-bit numbers. */
function renderInstance({ data, rules, ...plain }: FeatureInstance): string {
  const kept = rules.length > keptRules ? [] : rules;
  return `{"data":${render(data ?? null)},"rules":${JSON.stringify(kept)},${JSON.stringify(plain).slice(1)}`;
}

/** Whether the plans differ in nothing that is kept; sealed contents are told by their digest. */
export function isSamePlan(a: NodePlan, b: NodePlan): boolean {
  // What mostly differs is looked at first.
  return sealsOf(a) === sealsOf(b) && renderOutline(a) === renderOutline(b);
}

function sealsOf({ maps }: NodePlan): string {
  return maps.map(({ key, contents }) => (contents.kind === "sealed" ? `${key} ${contents.digest}` : "")).join();
}

function renderOutline(plan: NodePlan): string {
  const maps = plan.maps.map((spec) =>
    spec.contents.kind === "sealed" ? { ...spec, contents: { kind: "live" as const } } : spec,
  );
  return renderPlan({ ...plan, maps });
}

function render(value: unknown): string {
  return JSON.stringify(value, function (this: unknown, name: string, field: unknown) {
    // A Buffer would already be its own toJSON() here; the holder still has the bytes.
    const original = (this as Record<string, unknown>)[name];
    if (original instanceof Uint8Array)
      return { $bytes: Buffer.from(original.buffer, original.byteOffset, original.byteLength).toString("base64") };
    if (typeof field === "bigint") return { $int: field.toString() };
    return field;
  });
}

/** The inverse of renderPlan, for texts whose checksum was right. Throws what `load` throws of a file. */
export function parsePlan(text: string, load?: (file: string) => MapEntries): NodePlan {
  return JSON.parse(text, (_, value: unknown) => {
    if (typeof value !== "object" || value === null) return value;
    if ("$bytes" in value && typeof value.$bytes === "string")
      return new Uint8Array(Buffer.from(value.$bytes, "base64"));
    if ("$file" in value && typeof value.$file === "string") return load?.(value.$file);
    if ("$int" in value && typeof value.$int === "string") return BigInt(value.$int);
    return value;
  }) as NodePlan;
}
