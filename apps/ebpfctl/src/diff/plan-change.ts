import { acceptObject, compilePlan, LastPlan, type AcceptedObject, type StoredObject } from "@bpfleet/agent";
import { refKey, sameRef } from "@bpfleet/base";
import { earlierPlansOf, type DaemonClient } from "@bpfleet/daemon/client";
import { features } from "@bpfleet/features";
import {
  diffPlan,
  emptyJournal,
  journalAfter,
  type ItemResult,
  type MapContents,
  type NodeFacts,
  type NodePlan,
  type PlanProblem,
} from "@bpfleet/kernel";
import { kinds } from "@bpfleet/kinds";
import type { Config } from "../config.ts";
import type { AdmittedObject } from "../manifests/admit-objects.ts";
import { openStore } from "../resources/load-node.ts";
import type { World } from "../world.ts";
import { summarizeActions, type Change } from "./summarize-actions.ts";

export interface PlannedChange {
  readonly changes: readonly Change[];
  /** Of the objects that would be applied. */
  readonly problems: readonly PlanProblem[];
  readonly isPaused: boolean;
}

/** What the kernel would have to change if these objects were stored: the daemon's own planning, without the doing. */
export async function planChange(
  objects: readonly AdmittedObject[],
  daemon: DaemonClient,
  config: Config,
  world: World,
): Promise<PlannedChange> {
  const store = openStore(config, world);
  await store.refresh();
  const stored = store.snapshot().objects.map((object) => acceptObject(object, kinds));
  const asked = new Set(objects.map(({ ref }) => refKey(ref)));
  const wanted = [...stored.filter((object) => !asked.has(refKey(object.stored.ref))), ...objects.map(acceptInput)];
  const { facts, results } = await daemon.state({ withCounters: false });
  const before = compilePlan(stored, features, facts).plan;
  // An image that nobody has fetched yet cannot be judged: what runs in its place goes on until then.
  const last = new LastPlan();
  last.becomes(before);
  const known = last.addTo({ ...facts, earlierPlans: earlierPlansOf(before) });
  const { plan, problems } = compilePlan(wanted, features, known);
  const isWritten = ({ kind }: MapContents) => kind === "kept" || kind === "refers";
  const written = plan.maps.filter(({ contents }) => isWritten(contents)).map(({ key }) => key);
  const observed = await daemon.observe(written);
  const actions = diffPlan(plan, observed, journalAfter(emptyJournal, before, allInForce(before)), modesOf(facts));
  return {
    changes: summarizeActions(actions),
    problems: problems.filter(({ origin }) => objects.some(({ ref }) => sameRef(ref, origin.object))).map(sayUnknown),
    isPaused: results.isPaused,
  };
}

function sayUnknown(problem: PlanProblem): PlanProblem {
  if (problem.reason !== "Fetching" && problem.reason !== "FetchingSlowly") return problem;
  const { kind, name } = problem.origin.object;
  const what = problem.message.replace(/^still fetching (.*) after [\d.]+ s: .*$|^fetching (.*)$/, "$1$2");
  const message = `${kind} ${name}: what it would change cannot be told before the daemon has fetched ${what}`;
  return { ...problem, message };
}

function acceptInput({ input, kind, parsed }: AdmittedObject): AcceptedObject {
  const { ref, object, positionOf } = parsed;
  const stored: StoredObject = { ref, object, positionOf, path: "", text: input.text, source: input.source, spec: "" };
  return { stored, kind, parsed, issues: [] };
}

function modesOf({ kernel }: NodeFacts): { readonly inline: boolean; readonly stub: boolean } {
  return { inline: kernel.chainInline.has, stub: kernel.chainStub.has };
}

/** Then everything of the plan that is stored is ours, and may go. */
function allInForce(plan: NodePlan): readonly ItemResult[] {
  return plan.maps.map(({ key }) => ({ item: "map", key, state: "in-force" }));
}
