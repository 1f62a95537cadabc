import type { Origin } from "@bpfleet/base";
import type { Parsed } from "../kind.ts";
import type { Policy } from "@bpfleet/features";
import { modeAnnotation, onRevokeAnnotation } from "./annotations.ts";

/** What every part of a policy is read with. */
export interface ReadContext {
  /** Of the policy; undefined for one of the whole cluster. */
  readonly namespace: string | undefined;
  originOf(path: string): Origin;
}

export function readContext(parsed: Pick<Parsed, "ref" | "positionOf">): ReadContext {
  const { ref, positionOf } = parsed;
  return {
    namespace: ref.namespace === "" ? undefined : ref.namespace,
    originOf: (path) => ({ object: ref, path, position: positionOf(path) }),
  };
}

/** What annotations say of a whole policy. */
export function policyModes({ object }: Parsed): Modes {
  return modesOf(object.metadata.annotations ?? {});
}

type Modes = Pick<Policy, "mode" | "onRevoke">;

export function modesOf(annotations: Readonly<Record<string, unknown>>): Modes {
  return {
    mode: annotations[modeAnnotation] === "shadow" ? "shadow" : "enforce",
    onRevoke: annotations[onRevokeAnnotation] === "keep" ? "keep" : "cut",
  };
}
