import { maskBytes, parsePrefix, renderPrefix, type PrefixReading } from "../address/prefix.ts";
import type { OwnAddress } from "./lint-view.ts";

type Prefix = Extract<PrefixReading, { readonly ok: true }>["prefix"];

/** Finds addresses by prefix: lists have 100,000 prefixes, clusters thousands of addresses. */
export class OwnAddressIndex {
  readonly #addresses: readonly { readonly own: OwnAddress; readonly prefix: Prefix }[];
  /** By family and length, then by prefix. */
  readonly #byLength = new Map<string, ReadonlyMap<string, readonly OwnAddress[]>>();

  constructor(addresses: readonly OwnAddress[]) {
    this.#addresses = addresses.flatMap((own) => {
      const read = parsePrefix(own.address);
      return read.ok ? [{ own, prefix: read.prefix }] : [];
    });
  }

  within(prefix: Prefix): readonly OwnAddress[] {
    const { family, length } = prefix;
    const key = `${family}/${length}`;
    const known = this.#byLength.get(key) ?? this.#group(family, length);
    this.#byLength.set(key, known);
    return known.get(renderPrefix(prefix)) ?? [];
  }

  #group(family: Prefix["family"], length: number): ReadonlyMap<string, readonly OwnAddress[]> {
    const groups = new Map<string, OwnAddress[]>();
    for (const { own, prefix } of this.#addresses) {
      if (prefix.family !== family) continue;
      const name = renderPrefix({ family, length, bytes: maskBytes(prefix.bytes, length) });
      const group = groups.get(name) ?? [];
      group.push(own);
      groups.set(name, group);
    }
    return groups;
  }
}
