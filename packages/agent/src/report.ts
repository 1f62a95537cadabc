import type { Issue, ObjectRef } from "@bpfleet/base";
import type { KubeObject } from "@bpfleet/kinds";

/**
 * - `in-force`: everything that the object asks for holds in the kernel.
 * - `waiting`: served as soon as the world changes, e.g. an interface appears.
 * - `failed`: the kernel or the object itself keeps it from being served.
 * - `pending`: being put into the kernel just now, or the daemon is paused.
 */
export type ObjectState = "in-force" | "waiting" | "failed" | "pending";

/** What became of one object on this node. */
export interface ObjectReport {
  readonly ref: ObjectRef;
  /** With `status`, as `get -o yaml` shows it. */
  readonly object: KubeObject;
  readonly state: ObjectState;
  /** Why it is not in force, or what the user should know of what is; with the place where there is one. */
  readonly messages: readonly string[];
  /** Oldest first. */
  readonly events: readonly ObjectEvent[];
  /** It does not mean this node, or asks for what is not served yet. */
  readonly standing?: "not-selected" | "not-served" | undefined;
  /** The object of which this one is made: nobody wrote this one. */
  readonly madeFrom?: ObjectRef | undefined;
}

/** As Kubernetes keeps events: equal ones are one, counted. */
export interface ObjectEvent {
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly message: string;
  readonly count: number;
  readonly firstTimestamp: string;
  readonly lastTimestamp: string;
}

export interface NodeReport {
  readonly takenAt: string;
  readonly isPaused: boolean;
  readonly objects: readonly ObjectReport[];
  /** Files of the store that are no objects. */
  readonly broken: readonly { readonly path: string; readonly issues: readonly Issue[] }[];
  /** Why nothing can be done at all, when that is so. */
  readonly trouble?: string | undefined;
}
