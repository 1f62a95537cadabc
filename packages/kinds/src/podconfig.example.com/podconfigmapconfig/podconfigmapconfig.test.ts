import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { PolicyIntent, PolicyRule } from "@bpfleet/features";
import { issueLines, readAll } from "../../testing/read-all.ts";

function config(spec: string): string {
  const base = "apiVersion: podconfig.example.com/v1alpha1\nkind: PodConfigMapConfig\nmetadata: {name: t}\nspec:\n";
  return `${base}${spec.replaceAll(/^/gm, "  ")}\n`;
}

function issues(spec: string): string[] {
  return issueLines(config(spec)).map((line) => line.replace("spec.ebpfConfig.", ""));
}

test("PodConfigMapConfig reads the document's example, warns of the list that closes nothing, and names what is not served", () => {
  const text = readFileSync(`${import.meta.dirname}/samples/example-ebpf-config.yaml`, "utf8");
  assert.deepEqual(issueLines(text), [
    "15: warning spec.ebpfConfig.l4Firewall.allowedPorts: closes nothing: defaultAction allow lets every port pass that is not in blockedPorts",
  ]);
  const { intents, problems } = readAll(text).lower();
  assert.deepEqual(
    (intents as readonly PolicyIntent[]).map(({ tier, counts }) => [tier, counts]),
    [["l4", true]],
  );
  assert.deepEqual(
    problems.map(({ reason, message, origin }) => [reason, message, origin.position?.line]),
    [["NotServed", "spec.ebpfConfig.syscallMonitoring is not served yet; no system call is counted", 10]],
  );
});

test("PodConfigMapConfig finds all that is wrong at once, each with its line", () => {
  const spec = `podSelector: {matchExpressions: [{key: a, operator: In}]}
ebpfConfig:
  syscallMonitoring: {syscallNames: [Read, "sys read"]}
  l4Firewall: {enabled: yes please, allowedPorts: [0, 80, 80, http], defaultAction: drop}
  metricsExport: {enabled: true, updateInterval: 500ms}`;
  assert.deepEqual(issues(spec), [
    "5: error spec.podSelector.matchExpressions[0].values: is required for operators In and NotIn, and must be left out for Exists and DoesNotExist",
    "7: error syscallMonitoring.enabled: is required",
    '7: error syscallMonitoring.syscallNames[0]: must be the name of a system call, in lower case, is "Read"',
    '7: error syscallMonitoring.syscallNames[1]: must be the name of a system call, in lower case, is "sys read"',
    '8: error l4Firewall.enabled: must be true or false, is "yes please"',
    "8: error l4Firewall.allowedPorts[0]: must be at least 1, is 0",
    "8: error l4Firewall.allowedPorts[2]: 80 is already at position 1; keep one",
    '8: error l4Firewall.allowedPorts[3]: must be a whole number, is "http"',
    '8: error l4Firewall.defaultAction: must be one of allow, block, is "drop"',
    "9: error metricsExport.updateInterval: must be at least 1s",
  ]);
  assert.deepEqual(issues("ebpfConfig: {l4Firewall: {enabled: true, allowedPorts: [80]}}"), [
    "5: error l4Firewall.defaultAction: is required: one of allow, block",
  ]);
  assert.match(
    issues("ebpfConfig: {metricsExport: {enabled: true, updateInterval: often}}")[0] ?? "",
    /must be a duration/,
  );
});

test("PodConfigMapConfig warns of ports that are in both lists, and of firewalls that close all or nothing", () => {
  const firewall = (fields: string, selector = "podSelector: {matchLabels: {a: b}}"): string =>
    issues(`${selector}\nebpfConfig: {l4Firewall: {enabled: true, ${fields}}}`).join("\n");
  assert.match(
    firewall("allowedPorts: [22], blockedPorts: [22], defaultAction: block"),
    /22 is in blockedPorts too: it is blocked/,
  );
  assert.match(
    firewall("allowedPorts: [80], blockedPorts: [22], defaultAction: block"),
    /blockedPorts: changes nothing/,
  );
  assert.match(firewall("defaultAction: block"), /no port of the pods can be reached/);
  assert.match(
    firewall("allowedPorts: [80], defaultAction: block", "podSelector: {}"),
    /selects every pod of the namespace/,
  );
  assert.equal(firewall("allowedPorts: [80], defaultAction: block"), "");
  assert.equal(firewall("blockedPorts: [22], defaultAction: allow"), "");
  assert.match(issues("ebpfConfig: {syscallMonitoring: {enabled: true}}")[0] ?? "", /is counted for nobody/);
  assert.match(issueLines(config("podSelector: {}"))[0] ?? "", /so nothing is done/);
});

test("PodConfigMapConfig is a firewall of the pods' ports, each of both protocols, and of their own namespace", () => {
  const spec = `podSelector: {matchLabels: {app: a}}
ebpfConfig: {l4Firewall: {enabled: true, allowedPorts: [80], blockedPorts: [22, 23], defaultAction: block}}`;
  const { intents, problems } = readAll(config(spec).replace("{name: t}", "{name: t, namespace: x}")).lower();
  const [intent] = intents as readonly PolicyIntent[];
  const [statement] = intent?.policy.statements ?? [];
  assert.deepEqual([problems, intents.length, intent?.counts, intent?.policy.statements.length], [[], 1, false, 1]);
  assert.ok(statement !== undefined);
  assert.deepEqual(
    statement.subject.where.map(({ on, values }) => `${on}=${values.join()}`),
    ["namespace-name=x", "pod=a"],
  );
  const said = (rules: readonly PolicyRule[]): readonly string[] =>
    rules.map(({ peers, ports, origin }) => {
      const all = ports === "any" ? [] : ports.map((port) => port.match === "ports" && `${port.protocol} ${port.from}`);
      return `${origin.path.split("/").slice(-2).join()} ${JSON.stringify(peers)} ${all.join()}`;
    });
  const { ingress, egress } = statement;
  assert.deepEqual(said(ingress.allow), ['allowedPorts,0 "any" TCP 80,UDP 80']);
  assert.deepEqual(said(ingress.deny), ['blockedPorts,0 "any" TCP 22,UDP 22', 'blockedPorts,1 "any" TCP 23,UDP 23']);
  assert.deepEqual([ingress.isDefaultDeny, egress], [true, { isDefaultDeny: false, allow: [], deny: [] }]);
});

test("PodConfigMapConfig that enables nothing asks for nothing", () => {
  assert.deepEqual(readAll(config("ebpfConfig: {l4Firewall: {enabled: false, defaultAction: block}}")).lower(), {
    intents: [],
    problems: [],
  });
});
