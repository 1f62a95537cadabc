import { fingerprint } from "@bpfleet/base";
import type { Btf } from "./btf.ts";
import type { BtfMember } from "./btf-type.ts";
import { Walk } from "./walk.ts";

const paddingName = /^_*(?:pad|padding|reserved|unused|rsvd)_?\d*_*$/i;

/** A member that only fills room: no name, or one that says so. */
export function isPadding(btf: Btf, member: BtfMember): boolean {
  if (member.name !== "") return paddingName.test(member.name);
  const { kind } = btf.resolved(member.type);
  return kind !== "struct" && kind !== "union";
}

/**
 * Equal for types whose values mean the same, byte by byte: fields by name, place and type. What only
 * fills room does not count, nor do the names of types; what a pointer leads to does not either.
 */
export function layoutFingerprint(btf: Btf, typeId: number): string {
  return fingerprint(describeLayout(btf, typeId));
}

/** What the fingerprint is made of. */
export function describeLayout(btf: Btf, typeId: number): string {
  return describe(btf, typeId, new Walk());
}

function describe(btf: Btf, id: number, walk: Walk): string {
  const type = btf.resolved(id);
  switch (type.kind) {
    case "int": {
      const order = networkOrder(btf, id) ? "be" : "";
      const bits = type.bits === undefined ? "" : `:${type.bits.offset}+${type.bits.count}`;
      return `${order}${type.meaning === "bool" ? "bool" : type.isSigned ? "s" : "u"}${type.size * 8}${bits}`;
    }
    case "enum":
    case "enum64":
      return `enum${type.size * 8}`;
    case "float":
      return `float${type.size * 8}`;
    case "pointer":
      return "pointer";
    case "array":
      return `${describe(btf, type.type, walk.deeper())}[${type.count}]`;
    case "struct":
    case "union": {
      const fields = fieldsOf(btf, id, walk)
        .map(({ name, offset, text }) => `${offset} ${name} ${text}`)
        .toSorted();
      return `{${type.size};${fields.join(";")}}`;
    }
    case "section": {
      const variables = type.members.map((member) => {
        const variable = btf.get(member.type);
        return `${member.offset} ${variable.name} ${describe(btf, variable.type, walk.deeper())}`;
      });
      return `{${type.size};${variables.join(";")}}`;
    }
    case "variable":
      return describe(btf, type.type, walk.deeper());
    default:
      return type.kind;
  }
}

interface LaidField {
  readonly name: string;
  /** Bits from the start. */
  readonly offset: number;
  readonly text: string;
}

/** With those of members without a name, at their place in the whole. */
function fieldsOf(btf: Btf, id: number, walk: Walk, start = 0): LaidField[] {
  return btf.resolved(id).members.flatMap((member) => {
    if (isPadding(btf, member)) return [];
    const offset = start + member.offset;
    if (member.name === "") return fieldsOf(btf, member.type, walk.deeper(), offset);
    const bits = member.bits === undefined ? "" : `:${member.bits}`;
    return [{ name: member.name, offset, text: `${describe(btf, member.type, walk.deeper())}${bits}` }];
  });
}

/** How one layout became the other, for people: `size 16 → 24`, `field rx_errors added`. Empty when nothing did. */
export function layoutChanges(before: { btf: Btf; typeId: number }, after: { btf: Btf; typeId: number }): string[] {
  const changes: string[] = [];
  const sizes = [before.btf.sizeOf(before.typeId), after.btf.sizeOf(after.typeId)] as const;
  if (sizes[0] !== sizes[1]) changes.push(`size ${sizes[0]} → ${sizes[1]}`);
  const old = new Map(namedFields(before));
  for (const [name, field] of namedFields(after)) {
    const earlier = old.get(name);
    old.delete(name);
    if (earlier === undefined) changes.push(`field ${name} added`);
    else if (earlier.text !== field.text) changes.push(`field ${name} changed its type`);
    else if (earlier.offset !== field.offset)
      changes.push(`field ${name} moved from ${earlier.offset} to ${field.offset}`);
  }
  for (const name of old.keys()) changes.push(`field ${name} removed`);
  if (changes.length > 0) return changes;
  return describeLayout(before.btf, before.typeId) === describeLayout(after.btf, after.typeId)
    ? []
    : ["its type changed"];
}

function namedFields({ btf, typeId }: { btf: Btf; typeId: number }): (readonly [string, LaidField])[] {
  const { kind } = btf.resolved(typeId);
  if (kind !== "struct" && kind !== "union") return [];
  return fieldsOf(btf, typeId, new Walk()).map((field) => [field.name, { ...field, offset: field.offset / 8 }]);
}

/** __be16, __be32, __be64 and what is made of them. */
export function networkOrder(btf: Btf, typeId: number): boolean {
  return btf.typedefs(typeId).some((name) => /^(?:__)?be(?:16|32|64)$/.test(name));
}
