import type { ObjectRef } from "@bpfleet/base";
import type { AnyObject } from "@bpfleet/kube";
import type { StoredObject } from "../store/stored-object.ts";

/** An object of an API server, as one of a store. */
export function storedOf(ref: ObjectRef, path: string, object: AnyObject): StoredObject {
  const { uid = "", generation = 0 } = object.metadata;
  return {
    ref,
    path,
    object,
    text: "",
    source: { file: path, line: 1, isRendered: true },
    // Its fields have paths, and nobody knows of a text.
    positionOf: () => undefined,
    spec: `${uid}/${generation}`,
  };
}
