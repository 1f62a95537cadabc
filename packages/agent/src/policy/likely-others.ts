import { isRecord } from "@bpfleet/base";

/** More are not asked about. */
const mostPorts = 128;
const portFields = new Set(["port", "endPort", "allowedPorts", "blockedPorts"]);

/** Ports that an edit of the object is likely to open besides: those that it names, and those beside the one asked for. */
export function likelyPorts(object: unknown, asked: number): readonly number[] {
  const named = new Set([asked - 1, asked + 1]);
  collect(object, false, named);
  return [...named].filter((port) => port > 0 && port < 65_536 && port !== asked).slice(0, mostPorts);
}

function collect(value: unknown, isPort: boolean, into: Set<number>): void {
  if (Array.isArray(value)) for (const item of value) collect(item, isPort, into);
  else if (isRecord(value))
    for (const [name, field] of Object.entries(value)) collect(field, portFields.has(name), into);
  else if (isPort && Number.isInteger(Number(value))) into.add(Number(value));
}

/** Addresses that share less and less of their beginning with this one: whoever means a block of them means some. */
export function likelyAddresses(address: Uint8Array): readonly Uint8Array[] {
  return [...address.keys()].toReversed().map((at) => address.map((byte, index) => (index === at ? byte ^ 1 : byte)));
}
