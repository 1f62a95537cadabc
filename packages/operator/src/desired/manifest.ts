import type { AnyObject } from "@bpfleet/kube";

/** An object as it is to be, of the fields that are ours. */
export type Manifest = AnyObject;

/** Fields that are left out when undefined, so that nothing of an object is `undefined`. */
export function optional<K extends string, V>(name: K, value: V | undefined): { readonly [name in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { readonly [name in K]?: V });
}
