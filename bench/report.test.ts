import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { isAsked, mergeReports, renderMarkdown, type BenchReport } from "./report.ts";
import type { BenchResult } from "./result.ts";

const machine: BenchReport["machine"] = {
  kernel: "6.1",
  cpu: "c",
  cpus: 2,
  memoryGib: 8,
  load: 1,
  jit: "1",
  node: "v24",
  clang: "14",
  commit: "a",
  at: "2026-01-01T00:00:00Z",
};

function report(values: Readonly<Record<string, number>>): BenchReport {
  const results = Object.entries(values).map(([name, value]): BenchResult => ({
    name,
    value,
    unit: "ms",
    peer: "p",
    peerValue: 1,
    ratio: value,
    target: null,
  }));
  return { machine, seconds: 9, isQuick: false, results, unanswered: [] };
}

test("mergeReports replaces what a question said before, whatever its results are called, and says its load", () => {
  const before = report({ "node.x": 1, "node.gone": 1, "apply.p50": 1, "other.x": 1 });
  const run = { ...report({ "node.x": 2, "apply.p50": 2 }), machine: { ...machine, load: 5, commit: "b" } };
  const once = mergeReports(before, run, ["node", "daemon"], 3);
  const twice = mergeReports(once, run, ["node", "daemon"], 4);
  for (const { results } of [once, twice])
    assert.deepEqual(Object.fromEntries(results.map(({ name, value }) => [name, value])), {
      "other.x": 1,
      "node.x": 2,
      "apply.p50": 2,
    });
  assert.equal(twice.apart?.length, 1);
  assert.match(renderMarkdown(twice), /run of their own: node, daemon; load before 4, at the end 5; commit b;/);
});

test("renderMarkdown names the targets that are missed", () => {
  const targets: Readonly<Record<string, string | null>> = {
    over: "< 50 ms",
    at: "< 51 ms",
    within: "<= 51.5 ms",
    none: "0",
    told: "a lease: 17 s",
    free: null,
  };
  const of = report(Object.fromEntries(Object.keys(targets).map((name) => [name, 51])));
  const results = of.results.map((result) => ({ ...result, target: targets[result.name] ?? null }));
  assert.match(renderMarkdown({ ...of, results }), /^Targets missed: over, at, none\.$/m);
  assert.match(renderMarkdown(of), /^Targets missed: none\.$/m);
});

test("renderMarkdown makes the committed results of what was measured", () => {
  const results = join(import.meta.dirname, "results");
  const latest = JSON.parse(readFileSync(join(results, "latest.json"), "utf8")) as BenchReport;
  assert.equal(readFileSync(join(results, "latest.md"), "utf8"), renderMarkdown(latest));
});

test("isAsked knows a question by its name, its beginning, and its results", () => {
  assert.ok(isAsked("cluster.in-force", "cluster"));
  assert.ok(isAsked("cluster.in-force", "cluster.in-force.p99-ms"));
  assert.ok(isAsked("node", "node.pss-mib.1000-pods"));
  assert.equal(isAsked("node", "nodes.x"), false);
  assert.equal(isAsked("failover", "node"), false);
});

/** Figures by which others judge us. */
const asked = [
  "cluster.in-force.p99-ms",
  "node.pss-mib.1000-pods",
  "failover.released-s",
  "failover.killed-s",
  "scale.5000-nodes.propagation-p99-s",
  "policy.established.ns-over-empty",
  "policy.new-flow.ns-over-empty",
  "policy.rules-10000-over-10.ratio",
  "policy.enforced.p99-ms",
  "policy.12500-rules.s",
];

test("bench/results has every figure that is asked for, and the page shows what the data says", () => {
  const read = (name: string): string => readFileSync(join(import.meta.dirname, "results", name), "utf8");
  const latest = JSON.parse(read("latest.json")) as BenchReport;
  const names = new Set(latest.results.map(({ name }) => name));
  assert.deepEqual(
    asked.filter((name) => !names.has(name)),
    [],
  );
  assert.equal(read("latest.md"), renderMarkdown(latest));
});
