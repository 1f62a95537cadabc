import assert from "node:assert/strict";
import { test } from "node:test";
import type { AnyObject } from "@bpfleet/kube";
import { planStep, rememberApplied } from "./plan-step.ts";

const wanted: AnyObject = {
  apiVersion: "apps/v1",
  kind: "DaemonSet",
  metadata: { name: "d", namespace: "n", labels: { a: "1" } },
  spec: { template: { spec: { containers: [{ name: "c", image: "i", resources: { requests: { cpu: "0.1" } } }] } } },
};

const ownFields = {
  "f:metadata": { "f:labels": { "f:a": {} } },
  "f:spec": {
    "f:template": {
      "f:spec": {
        "f:containers": {
          'k:{"name":"c"}': { ".": {}, "f:name": {}, "f:image": {}, "f:resources": { "f:requests": { "f:cpu": {} } } },
        },
      },
    },
  },
};

interface Edit {
  readonly image?: string;
  readonly more?: object;
  readonly containers?: readonly object[];
  readonly managers?: readonly object[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly metadata?: object;
}

/** As a server hands it out: with defaults, and values as it writes them. */
function live({
  image = "i",
  more = {},
  containers = [],
  managers = [],
  labels = {},
  metadata = {},
}: Edit = {}): AnyObject {
  const own = { manager: "bpfleet-operator", operation: "Apply", fieldsV1: ownFields };
  return {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: {
      name: "d",
      namespace: "n",
      uid: "u",
      resourceVersion: "7",
      labels: { a: "1", ...labels },
      managedFields: [own, ...managers],
      ...metadata,
    },
    spec: {
      revisionHistoryLimit: 10,
      template: {
        spec: {
          containers: [
            { name: "c", image, imagePullPolicy: "Always", resources: { requests: { cpu: "100m" } }, ...more },
            ...containers,
          ],
        },
      },
    },
    status: { numberReady: 1 },
  };
}

function by(manager: string, fieldsV1: object, rest: object = {}): object {
  return { manager, operation: "Update", fieldsV1, ...rest };
}

const applied = rememberApplied(wanted, live());

test("planStep leaves alone what the server filled in, wrote otherwise, or reports", () => {
  const status = by("kube-controller-manager", { "f:status": { "f:numberReady": {} } }, { subresource: "status" });
  assert.deepEqual(planStep(wanted, live({ managers: [status], labels: { other: "x" } }), applied), { do: "nothing" });
});

test("planStep applies what is absent, unknown, edited, replaced by another object, or wanted otherwise", () => {
  const because = (object: AnyObject | undefined, known = applied, wish = wanted): string => {
    const step = planStep(wish, object, known);
    assert.equal(step.do, "apply");
    return step.do === "apply" ? step.because : "";
  };
  assert.equal(because(undefined), "it is not there");
  assert.equal(because(live({ image: "other" })), "it was edited");
  assert.equal(because(live({ metadata: { uid: "v" } })), "it is another object");
  assert.equal(
    because(live(), applied, { ...wanted, metadata: { ...wanted.metadata, labels: {} } }),
    "what is wanted has changed",
  );
  assert.equal(planStep(wanted, live(), undefined).do, "apply");
});

test("planStep replaces an object to which somebody added, and keeps the metadata of others", () => {
  const edit = by("kubectl-edit", {
    "f:spec": {
      "f:template": {
        "f:spec": { "f:containers": { 'k:{"name":"x"}': { ".": {}, "f:image": {}, "f:name": {} } } },
      },
    },
  });
  const step = planStep(
    wanted,
    live({ containers: [{ name: "x" }], managers: [edit], labels: { other: "x" } }),
    applied,
  );
  assert.ok(step.do === "replace");
  assert.equal(step.because, 'somebody added spec.template.spec.containers.[{"name":"x"}]');
  assert.deepEqual(step.object["spec"], wanted["spec"]);
  assert.deepEqual(step.object.metadata.labels, { a: "1", other: "x" });
  assert.equal(step.object.metadata.managedFields, undefined);
});

test("planStep replaces where somebody added below what is wanted to be empty, though what is ours is edited by it", () => {
  const volumes = (emptyDir: object, ...managers: readonly object[]): AnyObject => {
    const fieldsV1 = path({ 'k:{"name":"v"}': { ".": {}, "f:name": {}, "f:emptyDir": {} } });
    const own = { manager: "bpfleet-operator", operation: "Apply", fieldsV1 };
    const { metadata, ...rest } = live();
    const spec = { template: { spec: { volumes: [{ name: "v", emptyDir }] } } };
    return { ...rest, metadata: { ...metadata, managedFields: [own, ...managers] }, spec };
  };
  const path = (items: object): object => ({ "f:spec": { "f:template": { "f:spec": { "f:volumes": items } } } });
  const wish = { ...wanted, spec: { template: { spec: { volumes: [{ name: "v", emptyDir: {} }] } } } };
  const known = rememberApplied(wish, volumes({}));
  assert.deepEqual(planStep(wish, volumes({}), known), { do: "nothing" });
  const edit = by("kubectl-patch", path({ 'k:{"name":"v"}': { "f:emptyDir": { "f:medium": {} } } }));
  const step = planStep(wish, volumes({ medium: "Memory" }, edit), known);
  assert.ok(step.do === "replace");
  assert.equal(step.because, 'somebody added spec.template.spec.volumes.[{"name":"v"}].emptyDir.medium');
});

test("planStep calls an edit of what was applied one, whose field it has become", () => {
  const image = { 'k:{"name":"c"}': { "f:image": {} } };
  const edit = by("kubectl-edit", { "f:spec": { "f:template": { "f:spec": { "f:containers": image } } } });
  const object = live({ image: "other", managers: [edit] });
  const [own, ...others] = object.metadata.managedFields as { fieldsV1: object }[];
  const without = JSON.parse(JSON.stringify(own).replace('"f:image":{},', "")) as object;
  const edited = { ...object, metadata: { ...object.metadata, managedFields: [without, ...others] } };
  assert.deepEqual(planStep(wanted, edited, applied), { do: "apply", because: "it was edited" });
});

test("planStep takes a restart of the rollout for no edit, and keeps it when something else is", () => {
  const path = (field: object): object => ({
    "f:spec": { "f:template": { "f:metadata": { "f:annotations": field } } },
  });
  const restart = by("kubectl-rollout", path({ "f:kubectl.kubernetes.io/restartedAt": {} }));
  assert.deepEqual(planStep(wanted, live({ managers: [restart] }), applied), { do: "nothing" });
});

test("planStep waits for the end of what is being deleted, and for news of its own write", () => {
  assert.deepEqual(planStep(wanted, live({ metadata: { deletionTimestamp: "t" } }), applied), { do: "wait" });
  const older = live({ image: "before", metadata: { resourceVersion: "6" } });
  assert.deepEqual(planStep(wanted, older, applied), { do: "wait" });
});
