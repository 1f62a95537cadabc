import assert from "node:assert/strict";
import { test } from "node:test";
import { isTolerated, type Toleration } from "./taints.ts";

const taint = { key: "dedicated", value: "db", effect: "NoSchedule" };

test("isTolerated compares key, value and effect as Kubernetes does", () => {
  const cases: readonly (readonly [Toleration, boolean])[] = [
    [{ operator: "Exists" }, true],
    [{ operator: "Exists", effect: "NoExecute" }, false],
    [{ key: "dedicated", operator: "Exists" }, true],
    [{ key: "dedicated", operator: "Exists", effect: "NoSchedule" }, true],
    [{ key: "dedicated", value: "db" }, true],
    [{ key: "dedicated", operator: "Equal", value: "web" }, false],
    [{ key: "dedicated" }, false],
    [{ key: "other", operator: "Exists" }, false],
  ];
  for (const [toleration, is] of cases) assert.equal(isTolerated(taint, [toleration]), is, JSON.stringify(toleration));
  assert.ok(isTolerated({ ...taint, effect: "PreferNoSchedule" }, []));
  assert.ok(!isTolerated(taint, []));
});

test("isTolerated knows what every DaemonSet tolerates: nodes that are cordoned, short of something or not ready", () => {
  const all = (names: readonly string[], effect: string): readonly boolean[] =>
    names.map((name) => isTolerated({ key: `node.kubernetes.io/${name}`, effect }, []));
  const short = ["disk-pressure", "memory-pressure", "pid-pressure", "unschedulable", "network-unavailable"];
  assert.deepEqual(all(short, "NoSchedule"), [true, true, true, true, true]);
  assert.deepEqual(all(["not-ready", "unreachable"], "NoExecute"), [true, true]);
  // Pods stay there, and none comes.
  assert.deepEqual(all(["not-ready", "unreachable", "out-of-service"], "NoSchedule"), [false, false, false]);
});
