import { canonicalJson, refKey } from "@bpfleet/base";
import type { FeatureInstance, NodeFacts, NodePlan, PlanPart, SeenMap } from "@bpfleet/kernel";
import type { AgentDaemon } from "./agent-options.ts";
import type { Compiled } from "./compile.ts";

const seenKept = 3;

/**
 * What the next plan is to know of the one before it, of features that plan for the node as a whole: their part, so that
 * they can go on with it, and what their maps were.
 */
export class LastPlan {
  #parts: NonNullable<NodeFacts["earlierPlans"]> = {};
  #seen: NonNullable<NodeFacts["seenMaps"]> = {};
  #isKnown = false;

  /**
   * What `compile` makes of these facts and the plan before. An agent that has just started knows of none: where it
   * matters, the daemon is asked, which throws while it cannot be reached.
   */
  async plan(
    facts: NodeFacts,
    compile: (facts: NodeFacts) => Compiled,
    daemon: Pick<AgentDaemon, "lastPlan">,
  ): Promise<Compiled> {
    let compiled = compile(this.addTo(facts));
    if (compiled.wantsEarlier && !this.#isKnown) {
      this.becomes(await daemon.lastPlan());
      compiled = compile(this.addTo(facts));
    }
    this.becomes(compiled.plan);
    return compiled;
  }

  becomes(plan: NodePlan): void {
    this.#isKnown = true;
    const ofNode = plan.instances.filter(isOfNode);
    this.#parts = Object.fromEntries(ofNode.map(({ owner, feature }) => [refKey(owner), partOf(plan, feature)]));
    this.#seen = Object.fromEntries(
      Object.values(this.#parts)
        .flatMap(({ maps }) => maps)
        .flatMap(({ key, definition, layout, types }) => {
          if (layout === undefined || types === undefined) return [];
          const now: SeenMap = { definition, layout, keyType: types.key, valueType: types.value };
          const before = (this.#seen[key] ?? []).filter((each) => canonicalJson(each) !== canonicalJson(now));
          return [[key, [...before, now].slice(-seenKept)]];
        }),
    );
  }

  addTo(facts: NodeFacts): NodeFacts {
    if (Object.keys(this.#parts).length === 0) return facts;
    return {
      ...facts,
      earlierPlans: { ...facts.earlierPlans, ...this.#parts },
      seenMaps: { ...facts.seenMaps, ...this.#seen },
    };
  }
}

function isOfNode({ owner }: FeatureInstance): boolean {
  return owner.group === "" && owner.kind === "Node";
}

function partOf(plan: NodePlan, feature: string): PlanPart {
  const instances = plan.instances.filter((each) => each.feature === feature);
  const keys = new Set(instances.flatMap((each) => each.programs));
  const programs = plan.programs.filter(({ key }) => keys.has(key));
  const maps = new Set([
    ...instances.flatMap((each) => Object.values(each.maps)),
    ...programs.flatMap((each) => Object.values(each.maps)),
  ]);
  return {
    instances,
    programs,
    maps: plan.maps.filter(({ key }) => maps.has(key)),
    attachments: plan.hooks.flatMap(({ point, members }) =>
      members.filter(({ program }) => keys.has(program)).map((member) => ({ point, member })),
    ),
    problems: [],
  };
}
