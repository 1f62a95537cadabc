import assert from "node:assert/strict";
import { test } from "node:test";
import type { AnyObject } from "@bpfleet/kube";
import { cleanupDaemonSet, daemonSet } from "./daemon-set.ts";
import { builtImages } from "./operator-deployment.ts";
import { partingDaemonSet } from "./parting-set.ts";
import { parseSettings } from "./settings.ts";

interface Template {
  readonly metadata: { readonly annotations: Readonly<Record<string, string>>; readonly labels: object };
  readonly spec: {
    readonly initContainers: readonly { readonly args: readonly string[]; readonly image: string }[];
    readonly containers: readonly { readonly name: string; readonly command: readonly string[] }[];
    readonly volumes: readonly { readonly name: string }[];
    readonly nodeSelector: object;
    readonly tolerations: object;
    readonly hostNetwork?: boolean;
  };
}

function settings(data: Readonly<Record<string, string>>) {
  const parsed = parseSettings(data, builtImages);
  assert.ok(parsed.ok, JSON.stringify(parsed.issues));
  return parsed.value;
}

const setWith = (data: Readonly<Record<string, string>>): AnyObject =>
  daemonSet({ settings: settings(data), followsCilium: true, followsCalico: true });
const templateOf = (set: AnyObject): Template => (set["spec"] as { readonly template: Template }).template;

test("partingDaemonSet takes the plug-in out where the set that is there has put it, and does nothing else", () => {
  const live = setWith({
    "bpfd.image": "registry.example.com/bpfd:3",
    "bpfleet.cni-conf-dir": "/etc/net.d",
    "bpfleet.cni-bin-dir": "/opt/net",
    "bpfleet.node-selector": "{pool: edge}",
  });
  const parting = partingDaemonSet(live);
  assert.ok(parting !== undefined);
  const { metadata, spec } = templateOf(parting);
  assert.deepEqual(metadata.annotations, { "bpfleet.io/parting": "true" });
  const [cni, ...others] = spec.initContainers;
  assert.deepEqual(others, []);
  assert.deepEqual(cni?.args, ["uninstall", "--keep-binary", "--conf-dir", "/etc/net.d", "--bin-dir", "/opt/net"]);
  assert.equal(cni?.image, "registry.example.com/bpfd:3");
  assert.deepEqual(
    spec.containers.map(({ name, command }) => [name, ...command]),
    [["parted", "/usr/bin/ebpfctl", "sleep"]],
  );
  assert.deepEqual(
    spec.volumes.map(({ name }) => name),
    ["cni-conf", "cni-bin"],
  );
  const { nodeSelector, tolerations } = templateOf(live).spec;
  assert.deepEqual([spec.nodeSelector, spec.tolerations, spec.hostNetwork], [nodeSelector, tolerations, undefined]);
  assert.deepEqual(metadata.labels, templateOf(live).metadata.labels);
});

test("partingDaemonSet of itself is itself, and there is none where nothing is to be taken out", () => {
  const parting = partingDaemonSet(setWith({})) as AnyObject;
  assert.deepEqual(partingDaemonSet(parting), parting);
  assert.equal(partingDaemonSet(setWith({ "bpfleet.cni": "off" })), undefined);
  assert.equal(partingDaemonSet(cleanupDaemonSet(settings({}))), undefined);
  assert.equal(partingDaemonSet({ apiVersion: "apps/v1", kind: "DaemonSet", metadata: { name: "x" } }), undefined);
});

test("partingDaemonSet keeps the selector of the set that is there, and gives pods the labels that it asks for", () => {
  const live = setWith({});
  const spec = live["spec"] as { readonly template: { readonly metadata: object } };
  const labels = { "made-by": "another" };
  const template = { ...spec.template, metadata: { ...spec.template.metadata, labels } };
  const parting = partingDaemonSet({ ...live, spec: { ...spec, selector: { matchLabels: labels }, template } });
  assert.ok(parting !== undefined);
  assert.deepEqual((parting["spec"] as { readonly selector: object }).selector, { matchLabels: labels });
  assert.equal((templateOf(parting).metadata.labels as typeof labels)["made-by"], "another");
});
