import type { Outcome, Parsed } from "../../kind.ts";
import type { Aspect } from "../../status/conditions.ts";
import { ObjectFate } from "../../status/fate.ts";
import { notSelectedReason } from "./lower.ts";
import type { ProgramConfig } from "./spec.ts";

export type Cause = Pick<Aspect, "reason" | "message">;

/** What a config became on this node. */
export type ConfigFate =
  | { readonly state: "loaded" | "not-selected" | "pending" }
  | { readonly state: "failed"; readonly cause: Cause };

/** Reasons for waiting that say nothing bad yet. */
const underWay = ["Fetching"];

export function configFate(parsed: Parsed<ProgramConfig>, outcome: Outcome): ConfigFate {
  const fate = new ObjectFate(parsed.ref, outcome);
  const [refused] = fate.problemsOf("refused");
  if (refused !== undefined) return failed(refused);
  if (fate.problemsOf("note").some(({ reason }) => reason === notSelectedReason)) return { state: "not-selected" };
  const hooks = fate.hooks().map(({ key }) => key);
  const fates = [
    fate.fateOf("map", fate.mapKeys()),
    fate.fateOf("program", fate.programKeys()),
    fate.fateOf("hook", hooks),
  ];
  const bad = fates.find(({ state }) => state === "failed");
  if (bad !== undefined) return failed(bad);
  const waiting = fate.problemsOf("waiting").find(({ reason }) => !underWay.includes(reason));
  if (waiting !== undefined) return failed(waiting);
  if (fate.programKeys().length === 0) return { state: "pending" };
  if (outcome.isPaused)
    return failed({
      reason: "Paused",
      message: "everything is detached by `ebpfctl pause`; `ebpfctl resume` attaches it again",
    });
  const isThere = hooks.length > 0 && fates.every(({ state }) => state === "in-force");
  return { state: isThere ? "loaded" : "pending" };
}

function failed({ reason, message }: Cause): ConfigFate {
  return { state: "failed", cause: { reason, message } };
}
