import { notSelectedReason, type HookResult, type ItemResult } from "@bpfleet/kernel";
import type { Outcome, Parsed } from "../../kind.ts";
import { ObjectFate } from "../../status/fate.ts";
import type { Said } from "../conditions.ts";
import type { ProgramConfig } from "./spec.ts";

/** What a config became on this node, and what bpfd's messages do not say of it. */
export interface ConfigFate {
  readonly state: "loaded" | "not-selected" | "pending" | "failed";
  readonly ours: readonly Said[];
}

/** Reasons for waiting that say nothing bad yet. */
export const underWay: readonly string[] = ["Fetching", "FetchingSlowly"];
/** Reason of mistakes in a config that was sound before: what it said then stays in force. */
const spoilt = "Invalid";

export function configFate(parsed: Parsed<ProgramConfig>, outcome: Outcome): ConfigFate {
  const fate = new ObjectFate(parsed.ref, outcome);
  const refused = fate.problemsOf("refused");
  const notes = [
    ...fate.problemsOf("note").filter(({ reason }) => reason !== notSelectedReason),
    ...fate.hooks().flatMap(({ key }) => genericPathNote(fate.result("hook", key)?.hook, key)),
    ...fate.hooks().flatMap(({ key }) => emptyHookNote(fate.result("hook", key), key)),
    ...earlierNote(fate),
  ];
  const { state, cause } = judge(fate, outcome);
  const [first] = notes;
  const slow = fate.problemsOf("waiting").find(({ reason }) => reason === "FetchingSlowly");
  const told = cause ?? refused.find(({ reason }) => reason === spoilt) ?? slow;
  return {
    state,
    ours: [
      ...(told === undefined ? [] : [{ type: "Cause", reason: told.reason, message: told.message }]),
      ...(first === undefined
        ? []
        : [{ type: "Note", reason: first.reason, message: notes.map(({ message }) => message).join("; ") }]),
    ],
  };
}

/** XDP works everywhere in the kernel's generic path, but later and slower than in the driver. */
function genericPathNote(hook: HookResult | undefined, key: string): readonly Said[] {
  if (hook?.mode !== "skb" || hook.reason === undefined) return [];
  return [{ type: "Note", reason: "GenericXdp", message: `${key} runs in the generic path (skb): ${hook.reason}` }];
}

/** What ran before it was deleted, and what is to run does not load. */
function emptyHookNote(result: ItemResult | undefined, key: string): readonly Said[] {
  if (result?.state !== "withheld" || result.hook !== undefined) return [];
  const message = `nothing runs on ${key} until it loads: whatever ran there before was deleted or never was`;
  return [{ type: "Note", reason: "HookEmpty", message }];
}

/** The kernel refuses what is to run, and has not let go of what ran. */
function earlierNote(fate: ObjectFate): readonly Said[] {
  const own = new Set(fate.programKeys());
  const places = fate.hooks().flatMap(({ key }) => {
    const runsEarlier = fate.result("hook", key)?.earlier?.some((program) => own.has(program)) ?? false;
    return runsEarlier ? [key] : [];
  });
  if (places.length === 0) return [];
  const message = `until it loads the earlier program goes on, with its maps, on ${places.join(", ")}`;
  return [{ type: "Note", reason: "EarlierInForce", message }];
}

interface Judgement {
  readonly state: ConfigFate["state"];
  readonly cause?: Pick<Said, "reason" | "message">;
}

function judge(fate: ObjectFate, outcome: Outcome): Judgement {
  const refused = fate.problemsOf("refused").find(({ reason }) => reason !== spoilt);
  if (refused !== undefined) return { state: "failed", cause: refused };
  if (fate.problemsOf("note").some(({ reason }) => reason === notSelectedReason)) return { state: "not-selected" };
  const hooks = fate.hooks().map(({ key }) => key);
  const fates = [
    fate.fateOf("map", fate.mapKeys()),
    fate.fateOf("program", fate.programKeys()),
    fate.fateOf("hook", hooks),
  ];
  const failed = fates.find(({ state }) => state === "failed");
  if (failed !== undefined) return { state: "failed", cause: failed };
  const waiting = fate.problemsOf("waiting").find(({ reason }) => !underWay.includes(reason));
  if (waiting !== undefined) return { state: "failed", cause: waiting };
  if (fate.programKeys().length === 0) return { state: "pending" };
  if (outcome.isPaused) return { state: "failed", cause: paused };
  return { state: hooks.length > 0 && fates.every(({ state }) => state === "in-force") ? "loaded" : "pending" };
}

const paused = {
  reason: "Paused",
  message: "everything is detached by `ebpfctl pause`; `ebpfctl resume` attaches it again",
} as const;
