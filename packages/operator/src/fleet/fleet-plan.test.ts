import assert from "node:assert/strict";
import { test } from "node:test";
import { kinds } from "@bpfleet/kinds";
import type { AnyObject } from "@bpfleet/kube";
import { builtImages } from "../desired/operator-deployment.ts";
import { followsOf, planFleet, type FleetSight } from "./fleet-plan.ts";
import { readLastGood } from "./last-good.ts";
import { parseUndeploy, renderUndeployed, rolloutOf, uncleanNodes } from "./undeploy.ts";

function configMap(
  data: Readonly<Record<string, string>> = {},
  annotations: Readonly<Record<string, string>> = {},
): AnyObject {
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "bpfd-config", namespace: "kube-system", uid: "u1", annotations },
    data,
  };
}

function sight(fields: Partial<FleetSight> = {}): FleetSight {
  return {
    kinds,
    images: builtImages,
    configMap: configMap(),
    ciliumRuns: false,
    calicoRuns: false,
    followed: undefined,
    lastGood: undefined,
    webhookBundle: "PEM",
    ...fields,
  };
}

function kindsOf(plan: ReturnType<typeof planFleet>): readonly string[] {
  return plan.do === "run" || plan.do === "undeploy" ? plan.objects.map(({ kind }) => kind) : [];
}

test("planFleet has no DaemonSet without a ConfigMap, and changes nothing by one that is wrong", () => {
  assert.equal(planFleet(sight({ configMap: undefined })).do, "remove-daemon-set");
  const plan = planFleet(sight({ configMap: configMap({ "bpfd.log.level": "loud" }) }));
  assert.ok(plan.do === "keep" && plan.issues.length === 1);
});

test("planFleet follows the kinds of others where their agents do not run, or as it is told", () => {
  const followed = (data: Readonly<Record<string, string>>, runs: boolean): unknown => {
    const plan = planFleet(sight({ configMap: configMap(data), ciliumRuns: runs, calicoRuns: runs }));
    assert.ok(plan.do === "run");
    return [plan.follows.cilium, plan.follows.calico];
  };
  assert.deepEqual(followed({}, false), [true, true]);
  assert.deepEqual(followed({}, true), [false, false]);
  assert.deepEqual(followed({ "bpfleet.enforce.cilium": "always" }, true), [true, false]);
  assert.deepEqual(followed({ "bpfleet.enforce.calico": "never" }, false), [true, false]);
});

test("planFleet tells API servers of the webhook when there is a certificate, and never of kinds that are not followed", () => {
  assert.ok(!kindsOf(planFleet(sight({ webhookBundle: undefined }))).includes("ValidatingWebhookConfiguration"));
  const plan = planFleet(sight({ ciliumRuns: true }));
  assert.ok(kindsOf(plan).includes("ValidatingWebhookConfiguration"));
  assert.ok(plan.do === "run" && !JSON.stringify(plan.objects.at(-1)).includes('"cilium.io"'));
});

test("planFleet wants what no setting decides, whatever the ConfigMap says", () => {
  const wrong = configMap({ "bpfd.log.level": "loud", "bpfleet.enforce.cilium": "always" });
  for (const ciliumRuns of [true, false]) {
    const usual = planFleet(sight({ ciliumRuns }));
    assert.ok(usual.do === "run");
    const settled = usual.objects.filter(
      ({ kind, metadata }) =>
        kind !== "DaemonSet" &&
        !/^bpfd-daemon(?:-config)?$/.test(kind === "ConfigMap" || kind === "Service" ? metadata.name : ""),
    );
    assert.equal(settled.length, 5);
    for (const map of [undefined, wrong]) {
      const plan = planFleet(sight({ ciliumRuns, configMap: map }));
      assert.ok(plan.do === "remove-daemon-set" || plan.do === "keep");
      assert.deepEqual(plan.objects, settled);
      assert.deepEqual(plan.follows, usual.follows);
    }
  }
});

test("planFleet goes on with what the agents were told while the ConfigMap is wrong", () => {
  const followed = { cilium: true, calico: false };
  const plan = planFleet(sight({ ciliumRuns: true, followed, configMap: configMap({ "bpfd.log.level": "loud" }) }));
  assert.ok(plan.do === "keep");
  assert.deepEqual(plan.follows, followed);
  const judged = JSON.stringify(plan.objects.at(-1));
  assert.ok(judged.includes('"cilium.io"') && !judged.includes('"crd.projectcalico.org"'));
});

test("planFleet keeps what this ConfigMap said when it could be read, as the daemons' configuration remembers it", () => {
  const good = { "bpfd.image": "private.test/bpfd:1", "bpfleet.node-selector": "pool: edge", unknown: "1" };
  const usual = planFleet(sight({ configMap: configMap(good), ciliumRuns: true }));
  assert.ok(usual.do === "run");
  const remembering = usual.objects.find(({ metadata }) => metadata.name === "bpfd-daemon-config");
  const lastGood = readLastGood(remembering);
  assert.deepEqual(lastGood?.follows, { cilium: false, calico: true });
  const data = { ...good, "bpfd.log.level": "loud", "bpfleet.node-selector": "pool: core" };
  // What others run, and what the set was edited to, decides nothing meanwhile.
  const wrong = sight({ configMap: configMap(data), lastGood, followed: { cilium: true, calico: false } });
  const plan = planFleet(wrong);
  assert.ok(plan.do === "keep" && plan.issues.some(({ message }) => message.startsWith("bpfd.log.level: ")));
  assert.deepEqual(plan.objects, usual.objects);
  assert.deepEqual(plan.follows, usual.follows);
  const undeploy = planFleet({ ...wrong, configMap: configMap(data, { "bpfleet.io/undeploy": "true" }) });
  assert.match(JSON.stringify(undeploy), /"image":"private\.test\/bpfd:1"/);
  const other = planFleet({ ...wrong, lastGood: { ...lastGood, of: "u0" } });
  assert.ok(other.do === "keep" && !other.objects.some(({ kind }) => kind === "DaemonSet"));
});

test("readLastGood takes nothing but what was remembered", () => {
  const map = (text: string): AnyObject => ({ ...configMap({ "made-of.json": text }) });
  for (const text of ["", "{", "[]", "{}", '{"of":"u1","data":{}}', '{"of":1,"follows":{"cilium":true,"calico":true}}'])
    assert.equal(readLastGood(map(text)), undefined);
  const follows = { cilium: true, calico: true };
  const read = readLastGood(map(JSON.stringify({ of: "u1", data: { a: "1", b: 2 }, follows })));
  assert.deepEqual(read, { of: "u1", data: { a: "1" }, follows });
  assert.equal(readLastGood(undefined), undefined);
});

test("followsOf reads what a DaemonSet tells its agents", () => {
  const settings = planFleet(sight({ ciliumRuns: true }));
  assert.ok(settings.do === "run");
  const set = settings.objects.find(({ kind }) => kind === "DaemonSet");
  assert.deepEqual(followsOf(set), { cilium: false, calico: true });
  assert.equal(followsOf(undefined), undefined);
  assert.equal(followsOf({ apiVersion: "apps/v1", kind: "DaemonSet", metadata: { name: "x" } }), undefined);
});

test("planFleet undeploys by an annotation, also with a ConfigMap that is wrong, and does nothing once that is told", () => {
  const plan = planFleet(
    sight({ configMap: configMap({ "bpfd.log.level": "loud" }, { "bpfleet.io/undeploy": "90s" }) }),
  );
  assert.ok(plan.do === "undeploy" && plan.patienceMs === 90_000);
  assert.deepEqual(kindsOf(plan), ["DaemonSet"]);
  const over = configMap({}, { "bpfleet.io/undeploy": "true", "bpfleet.io/undeployed": "all 2 nodes are clean" });
  assert.deepEqual(planFleet(sight({ configMap: over })), { do: "nothing", report: "all 2 nodes are clean" });
  for (const word of ["", "false", "False", "no", "off", "0"])
    assert.equal(parseUndeploy(configMap({}, { "bpfleet.io/undeploy": word })), undefined);
  assert.equal(parseUndeploy(configMap({}, { "bpfleet.io/undeploy": "yes" }))?.patienceMs, 300_000);
});

function setWith(status: object, generation = 2): AnyObject {
  return { apiVersion: "apps/v1", kind: "DaemonSet", metadata: { name: "d", generation }, status };
}

test("rolloutOf believes counts of this generation only, and is done when every pod is new and Ready", () => {
  const counts = { desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberReady: 2 };
  assert.ok(!rolloutOf(setWith({ ...counts, observedGeneration: 1 })).isDone);
  assert.ok(rolloutOf(setWith({ ...counts, observedGeneration: 2 })).isDone);
  const half = rolloutOf(setWith({ ...counts, observedGeneration: 2, updatedNumberScheduled: 1 }));
  assert.deepEqual(half, { wanted: 2, ready: 1, isDone: false });
  assert.ok(!rolloutOf(setWith({})).isDone);
});

test("renderUndeployed names the nodes that are not clean, whose pod is not Ready or not there yet", () => {
  const pod = (nodeName: string, status: string, annotations: object): AnyObject =>
    ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: nodeName, annotations },
      spec: { nodeName },
      status: { conditions: [{ type: "Ready", status }] },
    }) as AnyObject;
  const cleaning = { "bpfleet.io/undeploy": "true" };
  const unclean = uncleanNodes([pod("a", "True", cleaning), pod("c", "False", cleaning), pod("b", "True", {})]);
  assert.deepEqual(unclean, ["b", "c"]);
  const text = renderUndeployed({ wanted: 3, ready: 1, isDone: false }, unclean);
  assert.match(text, /^1 of 3 nodes are clean; not: b, c; run `ebpfctl cleanup` there/);
  assert.equal(renderUndeployed({ wanted: 3, ready: 3, isDone: true }, []), "all 3 nodes are clean");
});
