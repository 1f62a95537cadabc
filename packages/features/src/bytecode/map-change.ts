import type { SeenMap } from "@bpfleet/kernel";

/** How one map became another, for people: `value 16 → 24 bytes, field rx_errors added`. */
export function describeMapChange(before: SeenMap, after: SeenMap): string {
  const changes: string[] = [];
  const [a, b] = [before.definition, after.definition];
  if (a.type !== b.type) changes.push(`type ${a.type} → ${b.type}`);
  if (a.keySize !== b.keySize) changes.push(`key ${a.keySize} → ${b.keySize} bytes`);
  if (a.valueSize !== b.valueSize) changes.push(`value ${a.valueSize} → ${b.valueSize} bytes`);
  if (a.maxEntries !== b.maxEntries) changes.push(`max_entries ${a.maxEntries} → ${b.maxEntries}`);
  if (a.flags !== b.flags) changes.push(`map_flags ${a.flags} → ${b.flags}`);
  changes.push(...fieldChanges(before.keyType, after.keyType), ...fieldChanges(before.valueType, after.valueType));
  if (changes.length === 0) changes.push(`value ${before.valueType} → ${after.valueType}`);
  return changes.join(", ");
}

export function isSameMap(a: SeenMap, b: SeenMap): boolean {
  const [one, other] = [a.definition, b.definition];
  return (
    a.layout === b.layout &&
    one.type === other.type &&
    one.keySize === other.keySize &&
    one.valueSize === other.valueSize &&
    one.maxEntries === other.maxEntries &&
    one.flags === other.flags
  );
}

function fieldChanges(before: string, after: string): string[] {
  const old = fieldsOf(before);
  const now = fieldsOf(after);
  const changes: string[] = [];
  for (const [name, type] of now) {
    const earlier = old.get(name);
    if (earlier === undefined) changes.push(`field ${name} added`);
    else if (earlier !== type) changes.push(`field ${name} ${earlier} → ${type}`);
  }
  for (const name of old.keys()) if (!now.has(name)) changes.push(`field ${name} removed`);
  if (changes.length === 0 && before !== after && old.size > 0) changes.push("fields moved");
  return changes;
}

/** Name → type, of `struct rec { __u64 packets; char name[16]; }`. */
function fieldsOf(type: string): Map<string, string> {
  const body = /\{(.*)\}/s.exec(type)?.[1] ?? "";
  const fields = body.split(";").flatMap((field): [string, string][] => {
    const parts = /^\s*(.+?)\s*(\w+)\s*((?:\[\d+\])*)\s*$/s.exec(field);
    return parts ? [[parts[2] ?? "", `${parts[1]}${parts[3]}`]] : [];
  });
  return new Map(fields);
}
