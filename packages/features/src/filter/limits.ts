import type { Origin } from "@bpfleet/base";
import type { PlanProblem } from "@bpfleet/kernel";
import { filterSize } from "./generated/filter.ts";
import type { FilterIntent } from "./intent.ts";

const ticksPerSecond = filterSize.ticks_per_ns * 1_000_000_000;
const mapsPerFamily = 2;

/** What one packet costs, in ticks; at least one, which no packet rate reaches. */
export function ticksPerPacket(packetsPerSecond: number): bigint {
  return BigInt(Math.max(1, Math.floor(ticksPerSecond / packetsPerSecond)));
}

/** The intent without what cannot be served at its place, and why. */
export function checkIntent(intent: FilterIntent): { intent: FilterIntent; problems: readonly PlanProblem[] } {
  const problems: PlanProblem[] = [];
  const say = (severity: PlanProblem["severity"], origin: Origin, message: string): void => {
    problems.push({ origin, reason: severity === "note" ? "Note" : "NotSupported", message, severity });
  };
  let served = intent;
  const { hook } = intent.at;
  if (intent.mark && hook === "xdp") {
    say("refused", intent.mark.origin, "mark packets at xdp: a frame carries no mark yet; use type tc-ingress");
    served = { ...served, mark: undefined };
  } else if (intent.mark?.dscp !== undefined && hook === "cgroup") {
    say(
      "refused",
      intent.mark.origin,
      "write DSCP at a cgroup: the kernel lets no program there write to packets; use type tc-egress",
    );
    served = { ...served, mark: { ...intent.mark, dscp: undefined } };
  }
  if (intent.accounting && hook !== "cgroup") {
    say("note", intent.accounting.origin, `account at ${hook}: packets are counted for the interface, not per pod`);
  }
  const { rateLimit } = intent;
  if (rateLimit && !(rateLimit.packetsPerSecond >= 1)) {
    say(
      "refused",
      rateLimit.origin,
      `limit to ${rateLimit.packetsPerSecond} packets per second: it must be at least 1`,
    );
    served = { ...served, rateLimit: undefined };
  }
  for (const family of [4, 6] as const) {
    for (const map of intent.maps.filter((each) => each.family === family).slice(mapsPerFamily)) {
      say(
        "refused",
        map.origin,
        `consult ${map.mapKey}: a program reads at most ${mapsPerFamily} maps of IPv${family} prefixes; put the entries into one of them`,
      );
      served = { ...served, maps: served.maps.filter((each) => each !== map) };
    }
  }
  const meaning = intent.isStateful ? statefulMeaning(served) : undefined;
  if (meaning !== undefined) say("note", intent.origin, meaning);
  return { intent: served, problems };
}

/** What `stateful` does where it is not simply that replies pass the limit. */
function statefulMeaning({ at, rateLimit }: FilterIntent): string | undefined {
  if (!rateLimit) return "stateful: there is no rate limit that replies would have to pass; it changes nothing";
  if (at.hook === "tc-egress") {
    return "stateful at tc-egress: what is limited here leaves by the interface, so nothing is a reply to what left; it changes nothing";
  }
  if (at.hook !== "cgroup") return undefined;
  if (at.directions.length < 2) return "stateful at a cgroup: it needs both directions; it changes nothing";
  return "stateful at a cgroup: replies to flows that the pods opened pass the limit on what they receive";
}
