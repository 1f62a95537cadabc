import type { ApiObject } from "../api-object.ts";
import type { ResourceType } from "../resource.ts";

export const events: ResourceType = { group: "events.k8s.io", version: "v1", plural: "events" };

/** Points at an object, as events do. */
export interface ObjectReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string | undefined;
  readonly name: string;
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
}

/** An Event of events.k8s.io/v1. */
export interface KubeEvent extends ApiObject {
  readonly eventTime: string;
  readonly reportingController: string;
  readonly reportingInstance: string;
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly action: string;
  readonly note: string;
  readonly regarding: ObjectReference;
  readonly related?: ObjectReference | undefined;
  readonly series?: { readonly count: number; readonly lastObservedTime: string } | undefined;
}

/** Something that happened, to be told where people look: `kubectl describe`. */
export interface Happening {
  readonly regarding: ObjectReference;
  readonly related?: ObjectReference | undefined;
  readonly type: "Normal" | "Warning";
  /** One word, in the order of a condition's reason: `ProgramRefused`. */
  readonly reason: string;
  /** What was done or tried: `Load`. */
  readonly action: string;
  readonly note: string;
}

export function referenceTo(object: ApiObject): ObjectReference {
  const { apiVersion, kind } = object;
  const { namespace, name, uid, resourceVersion } = object.metadata;
  return { apiVersion, kind, namespace, name, uid, resourceVersion };
}
