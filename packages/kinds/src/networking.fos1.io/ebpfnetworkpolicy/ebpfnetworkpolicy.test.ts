import assert from "node:assert/strict";
import { test } from "node:test";
import { findKind } from "../../kinds.ts";
import { issueLines } from "../../testing/read-all.ts";

const deprecated =
  "2: warning kind: EBPFNetworkPolicy is deprecated; use CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy";

/** Without the first issue, which every object of the kind has. */
function issues(spec: string): string[] {
  const base = "apiVersion: networking.fos1.io/v1alpha1\nkind: EBPFNetworkPolicy\nmetadata: {name: t}\nspec:\n";
  const [first, ...rest] = issueLines(`${base}${spec.replaceAll(/^/gm, "  ")}\n`);
  assert.equal(first, deprecated);
  return rest.map((line) => line.replace("spec.", ""));
}

test("EBPFNetworkPolicy is deprecated in its CRD and when it is read", () => {
  const crd = findKind("networking.fos1.io/v1alpha1", "EBPFNetworkPolicy")?.crd() as {
    readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
    readonly spec: {
      readonly versions: readonly { readonly deprecated: boolean; readonly deprecationWarning: string }[];
    };
  };
  const [version] = crd.spec.versions;
  assert.equal(version?.deprecated, true);
  assert.match(version.deprecationWarning, /use CiliumNetworkPolicy/);
  assert.deepEqual(Object.keys(crd.metadata.annotations), ["fos1.io/deprecated", "fos1.io/deprecation-message"]);
});

test("EBPFNetworkPolicy finds all that is wrong at once, each with its line", () => {
  const spec = `policyType: filterin
selector: {podSelector: {}, nodeSelector: {}}
ingress:
  - from: [{}, {ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]
    ports: [{protocol: ICMP, port: 8}, {protocol: GRE}]
    action: mark
egress:
  - rateLimit: {burstSize: 0}
    mark: 64`;
  assert.deepEqual(issues(spec), [
    '5: error policyType: must be one of filtering, routing, nat, qos, is "filterin"; did you mean filtering?',
    "6: error selector.nodeSelector: must stand alone: a policy is for nodes or for pods",
    "8: error ingress[0].mark: is required for action mark",
    "8: error ingress[0].from[0]: must have ipBlock, podSelector or namespaceSelector",
    "8: error ingress[0].from[1].ipBlock: must stand alone: addresses are not those of selected pods; make two peers of it",
    "9: error ingress[0].ports[0].port: must be left out for protocol ICMP: it has none",
    '9: error ingress[0].ports[1].protocol: must be one of TCP, UDP, ICMP, is "GRE"',
    "12: error egress[0].rateLimit.bitsPerSecond: is required",
    "12: error egress[0].rateLimit.burstSize: must be at least 1, is 0",
    "13: error egress[0].mark: must be at most 63, is 64",
  ]);
});

test("EBPFNetworkPolicy needs nat for policyType nat only", () => {
  assert.match(issues("policyType: nat")[0] ?? "", /error nat: is required for policyType nat/);
  assert.match(issues("policyType: qos\nnat: {type: masquerade}")[0] ?? "", /policyType: qos will never be served/);
  assert.match(issues("policyType: qos\nnat: {type: masquerade}")[1] ?? "", /error nat: needs policyType nat/);
  assert.deepEqual(issues("policyType: nat\nnat: {type: dnat}").slice(-2), [
    "6: error nat.externalIP: is required for types snat and dnat",
    "6: error nat.portMappings: is required for type dnat",
  ]);
});

test("EBPFNetworkPolicy warns of policies that do not close, and of rules that are not reached", () => {
  const told = (spec: string): string => issues(`policyType: filtering\n${spec}`).join("\n");
  assert.match(told("ingress: [{ports: [{port: 443}]}]"), /ingress: denies nothing: what no rule matches passes/);
  assert.equal(told("ingress: [{ports: [{port: 443}]}, {action: deny}]"), "");
  assert.match(told("egress: [{rateLimit: {bitsPerSecond: 1}}]"), /egress: only limits/);
  assert.match(told("egress: [{action: deny}, {ports: [{port: 53}]}]"), /egress\[1\]: is never reached/);
  assert.match(told("ingress: [{from: [], action: deny}]"), /from: is an empty list, which nobody is on/);
  assert.match(told("ingress: [{action: deny, mark: 4}]"), /mark: has no effect for action deny/);
  assert.match(told("ingress: [{action: deny, rateLimit: {bitsPerSecond: 4}}]"), /rateLimit: has no effect/);
  assert.match(told("priority: 3"), /has neither ingress nor egress rules/);
});
