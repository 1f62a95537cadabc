import { createHash } from "node:crypto";
import { canonicalJson, refKey, type ObjectRef } from "@bpfleet/base";
import type { KubeObject } from "@bpfleet/kinds";
import type { ObjectRecord } from "./records.ts";

/** The record of a made object, unless it was made of another object of that name. */
export function recordOfSame(record: ObjectRecord | undefined, owner: KubeObject): ObjectRecord | undefined {
  const [by] = record?.made?.object.metadata.ownerReferences ?? [];
  return by !== undefined && by.uid === owner.metadata.uid ? record : undefined;
}

/** Completes an object that a kind made with what an API server gives: uid, time and versions. */
export function identifyMade(
  object: KubeObject,
  ref: ObjectRef,
  before: ObjectRecord | undefined,
  now: string,
): KubeObject {
  const [owner] = object.metadata.ownerReferences ?? [];
  const earlier = before?.made?.object;
  const isSameSpec = earlier !== undefined && canonicalJson(earlier.spec) === canonicalJson(object.spec);
  const said = ({ metadata: { labels, finalizers, ownerReferences } }: KubeObject) => ({
    labels,
    finalizers,
    ownerReferences,
  });
  const isSame =
    isSameSpec &&
    canonicalJson(said(earlier)) === canonicalJson(said(object)) &&
    canonicalJson(before?.status) === canonicalJson(object.status);
  return {
    ...object,
    metadata: {
      ...object.metadata,
      creationTimestamp: before?.creationTimestamp ?? now,
      generation: before === undefined ? 1 : before.generation + (isSameSpec ? 0 : 1),
      resourceVersion: before === undefined ? "1" : String(Number(before.resourceVersion) + (isSame ? 0 : 1)),
      uid: before?.uid ?? uidOf(`${refKey(ref)} of ${owner?.uid ?? ""}`),
    },
  };
}

/** Without its status, as the record keeps it. */
export function withoutStatus({ status: _status, ...object }: KubeObject): KubeObject {
  return object;
}

function uidOf(name: string): string {
  const hex = createHash("sha256").update(name).digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
