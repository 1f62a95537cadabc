import type { Origin } from "@bpfleet/base";
import type { Parsed } from "../kind.ts";
import type { Policy, Unserved } from "@bpfleet/features";
import { modeAnnotation, onRevokeAnnotation } from "./annotations.ts";

/** What every part of a policy is read with. */
export interface ReadContext {
  /** Of the policy; undefined for one of the whole cluster. */
  readonly namespace: string | undefined;
  originOf(path: string): Origin;
  /** What is written in the rule at the path and not understood. */
  unknownIn(path: string): readonly Unserved[];
}

export function readContext(parsed: Pick<Parsed, "ref" | "positionOf" | "unknown">): ReadContext {
  const { ref, positionOf, unknown = [] } = parsed;
  const originOf = (path: string): Origin => ({ object: ref, path, position: positionOf(path) });
  return {
    namespace: ref.namespace === "" ? undefined : ref.namespace,
    originOf,
    unknownIn: (path) =>
      unknown
        .filter((each) => each.startsWith(`${path}/`))
        .map((each) => ({ origin: originOf(each), what: "a rule with a field that nobody knows" })),
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
