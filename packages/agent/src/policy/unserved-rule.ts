import { refKey, renderRef } from "@bpfleet/base";
import type { Intent, PolicyFeatureIntent } from "@bpfleet/features";
import { renderPath } from "@bpfleet/kinds";
import { questionOf, type DroppedPacket } from "./dropped-packet.ts";
import { EditTable, type TableWorld } from "./edit-table.ts";
import { policyIntents } from "./who-is.ts";

/** A rule that would allow it, were all of it served. */
export function unservedThatMeansIt(
  packet: DroppedPacket,
  all: readonly Intent[],
  world: TableWorld,
): string | undefined {
  const intents = policyIntents(all);
  const withoutLimits = intents.map((intent): PolicyFeatureIntent => {
    if (intent.about !== "policy") return intent;
    const statements = intent.policy.statements.map((statement) => ({
      ...statement,
      ingress: { ...statement.ingress, allow: statement.ingress.allow.map(asIfServed) },
      egress: { ...statement.egress, allow: statement.egress.allow.map(asIfServed) },
    }));
    return { ...intent, policy: { ...intent.policy, statements } };
  });
  const { verdict, rule } = new EditTable(withoutLimits, world, packet).judge(questionOf(packet));
  if (verdict === "drop" || rule === undefined) return undefined;
  const rules = intents.flatMap((intent) =>
    intent.about === "policy"
      ? intent.policy.statements.flatMap(({ ingress, egress }) => [...ingress.allow, ...egress.allow])
      : [],
  );
  const found = rules.find(
    ({ origin, unserved }) =>
      unserved.length > 0 && origin.path === rule.origin.path && refKey(origin.object) === refKey(rule.origin.object),
  );
  if (found === undefined) return undefined;
  const what = found.unserved.map((each) => each.what).join(", ");
  return `${renderRef(rule.origin.object)} ${renderPath(rule.origin.path)} means it, and lets nothing through since ${what} cannot be served`;
}

type AllowRule = Extract<
  PolicyFeatureIntent,
  { about: "policy" }
>["policy"]["statements"][number]["ingress"]["allow"][number];

function asIfServed(rule: AllowRule): AllowRule {
  return rule.unserved.length === 0 ? rule : { ...rule, ...rule.meant, unserved: [] };
}
