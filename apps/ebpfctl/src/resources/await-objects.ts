import { setTimeout as sleep } from "node:timers/promises";
import { fetchReport, syncAgent, type NodeReport, type ObjectReport } from "@bpfleet/agent";
import { KernelError, renderRef, sameRef, type ObjectRef } from "@bpfleet/base";
import type { Config } from "../config.ts";
import { count } from "../manifests/render-issues.ts";
import type { World } from "../world.ts";

const lookMs = 100;
/** Silence for longer than this is explained on standard error. */
const patienceMs = 2000;

/** Waits until every object is in force; tells what keeps the others from it, and whether all are. */
export async function waitForObjects(
  refs: readonly ObjectRef[],
  timeoutMs: number,
  config: Config,
  world: World,
): Promise<boolean> {
  const { clock, err } = world;
  const endMs = clock.monotonicMs() + timeoutMs;
  let nextTellingMs = clock.monotonicMs() + patienceMs;
  const signal = AbortSignal.timeout(Math.max(1, Math.ceil(timeoutMs)));
  let report = await syncAgent(config.agentSocket, signal).catch(timedOut);
  while (true) {
    const late = unfinished(refs, report);
    const failed = late.filter(({ state }) => state === "failed");
    if (failed.length > 0 || late.length === 0) return tell(failed, err);
    const now = clock.monotonicMs();
    if (now >= endMs) {
      err.write(`error: timed out waiting for ${late.length} of ${count(refs.length, "object")}\n`);
      return tell(late, err);
    }
    if (now >= nextTellingMs) {
      nextTellingMs = now + patienceMs;
      for (const { ref, state, messages } of late)
        err.write(`${renderRef(ref)}: ${state}${messages[0] === undefined ? "" : `: ${messages[0]}`}\n`);
    }
    await sleep(lookMs);
    report = await fetchReport(config.agentSocket, AbortSignal.timeout(patienceMs)).catch(timedOut);
  }
}

function timedOut(error: unknown): undefined {
  if (error instanceof KernelError) throw error;
  if (error instanceof Error && (error.name === "AbortError" || error.name === "TimeoutError")) return undefined;
  throw error;
}

type Fate = Pick<ObjectReport, "ref" | "state" | "messages">;

function unfinished(refs: readonly ObjectRef[], report: NodeReport | undefined): readonly Fate[] {
  const why = report === undefined ? "the agent has not answered yet; it may be busy with this" : "not read yet";
  return refs
    .map(
      (ref) =>
        report?.objects.find((object) => sameRef(object.ref, ref)) ?? {
          ref,
          state: "pending" as const,
          messages: [why],
        },
    )
    .filter(({ state }) => state !== "in-force");
}

function tell(fates: readonly Fate[], err: World["err"]): boolean {
  for (const { ref, state, messages } of fates) {
    for (const message of messages.length === 0 ? [state] : messages)
      err.write(`error: ${renderRef(ref)}: ${message}\n`);
  }
  return fates.length === 0;
}
