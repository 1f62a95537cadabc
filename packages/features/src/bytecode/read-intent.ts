import {
  renderSource,
  type BytecodeProgram,
  type BytecodeReady,
  type NodeFacts,
  type PlanProblem,
  type ProgramType,
} from "@bpfleet/kernel";
import { encodeWish } from "./globals.ts";
import type { BytecodeIntent } from "./intent.ts";
import { hookOfSection, matchSection } from "./match-section.ts";
import { programTypeAt } from "./places.ts";

/** What an intent asks for, found in the object that its source gave. */
export interface ReadIntent {
  readonly ready: BytecodeReady;
  readonly program: BytecodeProgram;
  readonly type: ProgramType;
  readonly globals: Readonly<Record<string, Uint8Array>>;
  /** Of fentry and fexit, where the section names another function or none. */
  readonly attachTarget?: string | undefined;
}

/** `undefined`, and why, when nothing can be loaded as it was asked for. */
export function readIntent(intent: BytecodeIntent, facts: NodeFacts, problems: PlanProblem[]): ReadIntent | undefined {
  const ready = findReady(intent, facts, problems);
  if (ready === undefined) return undefined;
  const type = programTypeAt(intent.at);
  const refuse = (reason: string, message: string, origin = intent.origin): undefined => {
    problems.push({ origin, reason, message, severity: "refused" });
    return undefined;
  };
  if (type === undefined) {
    const attach = intent.at.hook === "cgroup" ? intent.at.attach : intent.at.hook;
    return refuse("HookUnknown", `${attach} is not a valid attach point for this program: no kernel has such a hook`);
  }
  const hook = type === "kprobe" || type === "tracing" ? intent.at.hook : undefined;
  const matched = matchSection(ready, intent.section, type, hook);
  if (matched.program === undefined) return refuse(matched.reason, matched.message);
  let attachTarget: string | undefined;
  if (intent.at.hook === "fentry" || intent.at.hook === "fexit") {
    const { section, entry } = matched.program;
    const [kind = "", target] = section.split("/");
    if (hookOfSection(section) !== intent.at.hook) {
      const message = `section ${section} holds ${entry}, a program for ${kind}; this attach point takes ${intent.at.hook}`;
      return refuse("WrongProgramType", message);
    }
    if (target !== intent.at.function) attachTarget = intent.at.function;
  }
  const globals: Record<string, Uint8Array> = {};
  let isRefused = false;
  for (const [name, { value, origin }] of Object.entries(intent.globals)) {
    const global = ready.globals.find((each) => each.name === name);
    if (global === undefined) {
      const known = ready.globals.map((each) => `${each.name} (${each.type})`).join(", ");
      refuse("GlobalUnknown", `set global ${name}: the object has no such variable; it has ${known || "none"}`, origin);
      isRefused = true;
      continue;
    }
    const { bytes, refusal } = encodeWish(global, value);
    if (bytes !== undefined) globals[name] = bytes;
    else {
      refuse("GlobalInvalid", refusal, origin);
      isRefused = true;
    }
  }
  return isRefused ? undefined : { ready, program: matched.program, type, globals, attachTarget };
}

function findReady(intent: BytecodeIntent, facts: NodeFacts, problems: PlanProblem[]): BytecodeReady | undefined {
  const found = facts.bytecode?.[renderSource(intent.source)];
  const { origin } = intent;
  if (found === undefined || found.state === "fetching") {
    const what = intent.source.from === "file" ? intent.source.path : intent.source.reference;
    const { slow } = found ?? {};
    const told =
      slow === undefined
        ? { reason: "Fetching", message: `fetching ${what}` }
        : { reason: "FetchingSlowly", message: slow };
    problems.push({ origin, ...told, severity: "waiting" });
    return undefined;
  }
  if (found.state === "ready") return found;
  const { reason, message, earlier } = found;
  if (earlier !== undefined) {
    const digest = (earlier.imageDigest ?? earlier.objectDigest).slice(0, 19);
    problems.push({
      origin,
      reason,
      message: `${message}; what was there before (${digest}) goes on`,
      severity: "note",
    });
    return earlier;
  }
  problems.push({ origin, reason, message, severity: "waiting" });
  return undefined;
}
