import type { NodePlan } from "@bpfleet/kernel";

/** Raise it when the shape of a plan changes: an older file is then left aside until the agent speaks. */
export const planVersion = 1;

/** JSON, with bytes as `{"$bytes": base64}` and 64-bit numbers as `{"$int": decimal}`. */
export function renderPlan(plan: NodePlan): string {
  return JSON.stringify(plan, function (this: unknown, name: string, value: unknown) {
    // A Buffer would already be its own toJSON() here; the holder still has the bytes.
    const original = (this as Record<string, unknown>)[name];
    if (original instanceof Uint8Array)
      return { $bytes: Buffer.from(original.buffer, original.byteOffset, original.byteLength).toString("base64") };
    if (typeof value === "bigint") return { $int: value.toString() };
    return value;
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
