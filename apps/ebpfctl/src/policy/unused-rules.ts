import { renderAge, renderRef, renderTable, type Origin } from "@bpfleet/base";
import type { InstanceCounters } from "@bpfleet/features";
import { renderOrigin } from "../explain/render-origin.ts";

/** A rule that decided on no packet. */
export interface UnusedRule {
  readonly text: string;
  readonly origin: Origin;
  readonly packets: number;
  readonly countedSince: string;
  /** Left out where it never decided. */
  readonly lastHit?: string | undefined;
}

export interface UnusedRules {
  readonly rules: readonly UnusedRule[];
  /** Of how many. */
  readonly counted: number;
  /** Those that are not counted for as long as is asked about. */
  readonly tooYoung: number;
}

/** Those that never decided since they are counted, or not within `withinMs`; the oldest first. */
export function findUnused(
  counters: readonly InstanceCounters[],
  nowMs: number,
  withinMs: number | undefined,
): UnusedRules {
  const rules: UnusedRule[] = [];
  let [counted, tooYoung] = [0, 0];
  for (const { rule, counter, sinceMs, lastHitMs } of counters.flatMap((each) => each.rules)) {
    if (sinceMs === undefined) continue;
    counted++;
    if (withinMs === undefined ? lastHitMs !== undefined : (lastHitMs ?? 0) > nowMs - withinMs) continue;
    if (withinMs !== undefined && sinceMs > nowMs - withinMs) {
      tooYoung++;
      continue;
    }
    rules.push({
      text: rule.text,
      origin: rule.origin,
      packets: Number(counter.packets),
      countedSince: new Date(sinceMs).toISOString(),
      ...(lastHitMs !== undefined && { lastHit: new Date(lastHitMs).toISOString() }),
    });
  }
  const oldestFirst = (a: UnusedRule, b: UnusedRule): number => Date.parse(a.countedSince) - Date.parse(b.countedSince);
  return { rules: rules.toSorted(oldestFirst), counted, tooYoung };
}

/** How many there are; `since` as it was asked for. */
export function renderUnusedTotals({ rules, counted, tooYoung }: UnusedRules, since: string | undefined): string {
  if (counted === 0) return "No policy selects a pod of this node\n";
  const within = since === undefined ? "" : ` in the last ${since}`;
  const young = tooYoung === 0 ? "" : `${tooYoung} more did not either, and are not counted for ${since ?? ""} yet\n`;
  return `${rules.length} of ${counted} rules decided on no packet${within}\n${young}`;
}

export function renderUnused(rules: readonly UnusedRule[], nowMs: number): string {
  const age = (text: string): string => renderAge(Math.max(0, nowMs - Date.parse(text)));
  return renderTable(
    ["OBJECT", "RULE", "COUNTED FOR", "LAST HIT", "WRITTEN IN"],
    rules.map(({ text, origin, countedSince, lastHit }) => [
      renderRef(origin.object),
      text,
      age(countedSince),
      lastHit === undefined ? "never" : age(lastHit),
      renderOrigin(origin),
    ]),
  );
}
