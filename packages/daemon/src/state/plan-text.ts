import type { NodePlan } from "@bpfleet/kernel";

/** Raise it when the shape of a plan changes: an older file is then left aside until the agent speaks. */
export const planVersion = 1;

/**
 * Instances with longer lists of rules are kept without them: rules only name what was counted, and the
 * agent brings them back with its first plan.
 */
export const keptRules = 1000;

/** JSON, with bytes as `{"$bytes": base64}` and 64-bit numbers as `{"$int": decimal}`. */
export function renderPlan(plan: NodePlan): string {
  const instances = plan.instances.map((each) => (each.rules.length > keptRules ? { ...each, rules: [] } : each));
  return render({ ...plan, instances });
}

/** Equal for plans that differ in nothing; sealed contents are told by their digest. Much shorter than the plan. */
export function renderOutline(plan: NodePlan): string {
  const maps = plan.maps.map((spec) =>
    spec.contents.kind === "sealed" ? { ...spec, contents: spec.contents.digest } : spec,
  );
  const instances = plan.instances.map((each) => (each.rules.length > keptRules ? { ...each, rules: [] } : each));
  return render({ ...plan, maps, instances });
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

/** The inverse of renderPlan, for texts whose checksum was right. */
export function parsePlan(text: string): NodePlan {
  return JSON.parse(text, (_, value: unknown) => {
    if (typeof value !== "object" || value === null) return value;
    if ("$bytes" in value && typeof value.$bytes === "string")
      return new Uint8Array(Buffer.from(value.$bytes, "base64"));
    if ("$int" in value && typeof value.$int === "string") return BigInt(value.$int);
    return value;
  }) as NodePlan;
}
