import assert from "node:assert/strict";
import { test } from "node:test";
import { issueLines, readAll } from "../../testing/read-all.ts";

function pod(annotations: string): string {
  return `apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  labels: {app: web}\n  annotations: ${annotations}\nspec: {containers: [{name: c, image: x}]}\n`;
}

test("Pod keeps its spec as it is and asks nothing of the node", () => {
  const { parsed, issues, lower } = readAll(pod("{bpfleet.io/netns: web, bpfleet.io/cgroup: apps/web}"));
  assert.deepEqual(issues, []);
  assert.deepEqual(parsed[0]?.ref, { group: "", kind: "Pod", namespace: "default", name: "web" });
  assert.deepEqual(parsed[0]?.object.spec, { containers: [{ name: "c", image: "x" }] });
  assert.deepEqual(lower(), { intents: [], problems: [] });
});

test("Pod refuses network namespaces and cgroups that cannot be", () => {
  const errors = (annotations: string): string[] =>
    issueLines(pod(annotations)).map((line) => line.replace(/^6: error metadata\.annotations/, ""));
  assert.match(
    errors("{bpfleet.io/netns: a/b}")[0] ?? "",
    /^\["bpfleet\.io\/netns"\]: must be the name of a network namespace/,
  );
  for (const path of ["/", "../x", "a//b", "a/./b", '""']) {
    assert.match(errors(`{bpfleet.io/cgroup: ${path}}`)[0] ?? "", /must be a path below the cgroup v2 mount/, path);
  }
  assert.match(errors("{bpfleet.io/cgroup: 5}")[0] ?? "", /must be text, is 5; put it in quotes/);
});

test("Pod may stand without a spec", () => {
  assert.deepEqual(issueLines("apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n"), []);
});
