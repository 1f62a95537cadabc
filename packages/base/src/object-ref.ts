import type { Position } from "./result.ts";

/** Names one Kubernetes object, whether it lives in a cluster or in the directory store. */
export interface ObjectRef {
  /** `""` is the core group. */
  readonly group: string;
  readonly kind: string;
  /** `""` for cluster-scoped kinds. */
  readonly namespace: string;
  readonly name: string;
}

/** Where a wish comes from: the object, the field in it and, when known, the line of YAML. */
export interface Origin {
  readonly object: ObjectRef;
  /** JSON pointer, e.g. `/spec/settings/blacklist/ips/1`. */
  readonly path: string;
  readonly position?: Position | undefined;
}

/** `EBPFProgram default/xdp-packet-filter`, as people read it. */
export function renderRef(ref: ObjectRef): string {
  return ref.namespace === "" ? `${ref.kind} ${ref.name}` : `${ref.kind} ${ref.namespace}/${ref.name}`;
}

/** One string per object, for use as a key; stable across versions of the kind. */
export function refKey(ref: ObjectRef): string {
  return `${ref.group}/${ref.kind}/${ref.namespace}/${ref.name}`;
}

export function sameRef(a: ObjectRef, b: ObjectRef): boolean {
  return refKey(a) === refKey(b);
}
