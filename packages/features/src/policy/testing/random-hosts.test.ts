import assert from "node:assert/strict";
import { test } from "node:test";
import type { Policy } from "../policy.ts";
import { compileWorld } from "./compiled-world.ts";
import { Chance } from "./random.ts";
import { randomOrder, randomPolicies } from "./random-policy.ts";
import { addressesOf, randomProtocol, randomWorld } from "./random-world.ts";
import { judge } from "./reference.ts";
import { isIpv6, words } from "./words.ts";
import type { OrderedPolicy, World, WorldPacket } from "./world.ts";

const pairs = Number(process.env["BPFLEET_POLICY_PAIRS"] ?? 20_000);
const failSafe = [22, 53, 546, 2380, 6443, 9091, 9443, 10_250];

/** The same policies, some of their statements about nodes. */
function ofNodes(chance: Chance, policies: readonly Policy[]): readonly Policy[] {
  return policies.map((policy) => ({
    ...policy,
    mode: "enforce",
    statements: policy.statements.map((statement) => {
      if (chance.is(30)) return statement;
      const zone = { on: "node", key: "zone", operator: "In", values: [chance.of(words.zones)] } as const;
      const subject = { ...statement.subject, selects: "nodes", where: chance.is(50) ? [] : [zone] } as const;
      return { ...statement, subject };
    }),
  }));
}

/** Below those: the first rule that is met decides. */
function orderOfNodes(chance: Chance, world: World): readonly OrderedPolicy[] {
  return randomOrder(chance, world, "EBPFNetworkPolicy").map(({ policy, priority }) => {
    const [own = policy] = ofNodes(chance, [policy]);
    return { policy: own, priority };
  });
}

function packetOfNode(chance: Chance, world: World): WorldPacket {
  const own = world.nodes.filter(({ isThisNode }) => isThisNode).flatMap(({ addresses }) => addresses);
  const peer = chance.of(addressesOf(world).filter((each) => !own.includes(each)));
  const direction = chance.is(50) ? "ingress" : "egress";
  const asked = randomProtocol(chance, isIpv6(peer));
  const port =
    chance.is(20) && typeof asked.protocol === "string" && !asked.protocol.startsWith("ICMP")
      ? chance.of(failSafe)
      : asked.port;
  return { pod: "", direction, peer, ...asked, port };
}

test("compilePolicy and judgeTable decide of the node itself as the reference does", () => {
  const chance = new Chance(Number(process.env["BPFLEET_POLICY_SEED"] ?? 1));
  const counts = new Map<string, number>();
  for (let count = 0; count < pairs;) {
    const world = randomWorld(chance, false);
    const policies = chance.is(40) ? [] : ofNodes(chance, randomPolicies(chance, world));
    const fallback = chance.is(40) ? [] : orderOfNodes(chance, world);
    const compiled = compileWorld(policies, world, { fallback });
    for (let packets = 0; packets < 100; packets++, count++) {
      const packet = packetOfNode(chance, world);
      const { verdict, because } = judge(policies, world, packet, { fallback });
      const found = compiled.judge(packet);
      const told = JSON.stringify({ packet, because, policies, fallback });
      assert.equal(found.verdict, verdict === "allow" ? "pass" : "drop", told);
      const what = because.by === "rule" ? `${because.tier} ${verdict}` : because.by;
      counts.set(what, (counts.get(what) ?? 0) + 1);
    }
  }
  const rules = ["policy", "fallback"].flatMap((tier) => ["allow", "deny"].map((verdict) => `${tier} ${verdict}`));
  for (const what of [...rules, "default-deny", "no-default", "fail-safe", "nobody"])
    assert.ok((counts.get(what) ?? 0) >= pairs / 200, `${what}: ${JSON.stringify([...counts])}`);
});
