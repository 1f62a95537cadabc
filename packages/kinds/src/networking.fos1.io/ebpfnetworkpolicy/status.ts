import type { Counter } from "@bpfleet/features";
import type { Outcome, Parsed } from "../../kind.ts";
import { appliedAspects } from "../../policy/applied.ts";
import { stampStatus } from "../../status/conditions.ts";
import type { EBPFNetworkPolicy, EBPFNetworkPolicyStatus } from "./schema.ts";

export const networkPolicyConditions = {
  Ready: "The policy is enforced as declared; else what keeps it from that.",
  Accepted: "Everything that is declared is served. The message also says what one should know.",
  Applied: "It decides for all that it selects, where no policy of Cilium's kinds or NetworkPolicy does.",
};

/** What became of an EBPFNetworkPolicy on this node. */
export function networkPolicyStatus(parsed: Parsed<EBPFNetworkPolicy>, outcome: Outcome): EBPFNetworkPolicyStatus {
  const metrics = metricsOf(parsed, outcome);
  const isOfNodes = parsed.object.spec.selector?.nodeSelector !== undefined;
  const idle = isOfNodes ? "it is not for this node" : "it decides for no pod of this node";
  return stampStatus(
    metrics === undefined ? {} : { metrics },
    appliedAspects(parsed.ref, outcome, idle),
    parsed.object.metadata.generation,
    outcome,
  );
}

/** What the rules counted, by what each does. */
function metricsOf(
  { object: { spec } }: Parsed<EBPFNetworkPolicy>,
  { counters }: Outcome,
): EBPFNetworkPolicyStatus["metrics"] {
  const denying = new Set(
    (["ingress", "egress"] as const).flatMap((direction) =>
      (spec[direction] ?? []).flatMap(({ action }, index) =>
        action === "deny" ? [`/spec/${direction}/${index}`] : [],
      ),
    ),
  );
  const rules = counters.flatMap((each) => each.rules);
  if (rules.length === 0) return undefined;
  const sum = (some: typeof rules, of: keyof Counter): number =>
    Number(some.reduce((total, { counter }) => total + counter[of], 0n));
  const drops = sum(
    rules.filter(({ rule }) => denying.has(rule.origin.path)),
    "packets",
  );
  const matches = sum(rules, "packets");
  return { matches, drops, allows: matches - drops, packets: matches, bytes: sum(rules, "bytes") };
}
