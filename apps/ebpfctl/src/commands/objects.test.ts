import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { CommandBench, type CommandRun } from "../testing/run-command.ts";
import { matchGolden } from "../testing/golden.ts";

let bench: CommandBench;
beforeEach(() => {
  bench = new CommandBench();
});
afterEach(() => bench[Symbol.dispose]());

const filter = `# what we keep out
apiVersion: networking.fos1.io/v1alpha1
kind: EBPFProgram
metadata:
  name: edge
  labels: {team: net}
spec:
  type: xdp
  interface: eth0
  settings:
    blacklist:
      enabled: true
      ips: ["192.168.1.100", "10.10.10.0/24"]
`;
const map = `apiVersion: networking.fos1.io/v1alpha1
kind: EBPFMap
metadata:
  name: seen
  namespace: prod
spec:
  type: hash
  maxEntries: 16
  keySize: 4
  valueSize: 4
`;

function write(name: string, text: string): void {
  mkdirSync(join(bench.directory, name, ".."), { recursive: true });
  writeFileSync(join(bench.directory, name), text);
}

const noAgent = /^warning: .*\n/gm;
const quiet = (run: CommandRun) => run.err.replaceAll(noAgent, "");

/** A transcript of several commands, one after the other. */
async function transcript(...lines: readonly string[]): Promise<string> {
  const parts: string[] = [];
  for (const line of lines) {
    const run = await bench.run(line.split(" "));
    const text = `${run.out}${quiet(run)}`.replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}/g, "UID");
    parts.push(`$ ebpfctl ${line}\n${text}${run.exitCode === 0 ? "" : `exit code ${run.exitCode}\n`}`);
  }
  return parts.join("\n");
}

test("apply, get, describe and delete speak kubectl's words", async () => {
  write("all.yaml", `${filter}---\n${map}`);
  matchGolden(
    "objects.txt",
    await transcript(
      "get ebpfprograms",
      "apply -f all.yaml --dry-run client",
      "apply -f all.yaml",
      "apply -f all.yaml",
      "get ebpf",
      "get ebpfprograms -A -o wide",
      "get all -A",
      "get ebpf,ebpfmap -A --no-headers",
      "get all -A -o name",
      "get ebpfprogram edge -o yaml",
      "get ebpfmap/seen -n prod -o json",
      "get ebpf -o jsonpath={.items[*].metadata.name}",
      "get ebpf -l team=net",
      "get ebpf -l team!=net",
      "describe ebpf edge",
      "get ebpf nothing",
      "get ebpfmap seen",
      "get nonsense",
      "get ebpfprogam",
      "get ebpf/edge map",
      "get ebpf -o xml",
      "delete ebpf nothing",
      "delete ebpf nothing --ignore-not-found",
      "delete ebpf",
      "delete ebpfmap seen -n prod --dry-run client",
      "delete -f all.yaml",
      "delete -f all.yaml --ignore-not-found",
      "delete all --all -A",
      "get all -A",
    ),
  );
});

test("apply tells every mistake of every document with its place, and changes nothing", async () => {
  write("good.yaml", filter);
  write(
    "bad/one.yaml",
    `${filter.replace("type: xdp", "type: xpd").replace("10.10.10.0/24", "10.10.10.0/42").replace("interface: eth0", "interfce: eth0")}---
${map.replace("maxEntries: 16", "maxEntries: none")}---
kind: [
---
apiVersion: networking.fos1.io/v1alpha1
kind: EBPFProgrm
metadata: {name: x}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: x}
---
kind: EBPFMap
metadata: {name: Not_A_Name}
`,
  );
  write(
    "bad/below/two.json",
    `{"apiVersion": "networking.fos1.io/v1alpha1", "kind": "EBPFMap", "metadata": {"name": "Not_A_Name"}}`,
  );
  write("bad/ignored.txt", "nonsense");
  const run = await bench.run(["apply", "-f", "good.yaml", "-f", "bad", "-R"]);
  matchGolden("mistakes.txt", `${run.out}${run.err}exit code ${run.exitCode}\n`);
  assert.equal((await bench.run(["get", "all", "-A"])).out, "");
});

test("apply refuses one object that is declared twice, and a namespace that is not the one asked for", async () => {
  write("twice.yaml", `${filter}---\n${filter}`);
  const twice = await bench.run(["apply", "-f", "twice.yaml"]);
  assert.equal(twice.exitCode, 1);
  assert.match(
    twice.err,
    /^twice\.yaml:16:1: error: EBPFProgram default\/edge is declared twice, first at twice\.yaml:2; keep one$/m,
  );
  write("map.yaml", map);
  const other = await bench.run(["apply", "-n", "test", "-f", "map.yaml"]);
  assert.match(
    other.err,
    /map\.yaml:5:3: error: the namespace from the provided object "prod" does not match the namespace "test"/,
  );
});

test("apply reads standard input and puts objects that name no namespace where -n says", async () => {
  const run = await bench.run(["apply", "-n", "test", "-f", "-"], filter);
  assert.equal(run.out, "ebpfprogram.networking.fos1.io/edge created\n");
  assert.equal(
    (await bench.run(["get", "ebpf", "-n", "test", "-o", "name"])).out,
    "ebpfprogram.networking.fos1.io/edge\n",
  );
  const bad = await bench.run(["apply", "-f", "-"], filter.replace("xdp", "no"));
  assert.match(bad.err, /^<stdin>:8:3: error: spec\.type/m);
});

test("apply says what to do about inputs that it does not take", async () => {
  write("empty/readme.txt", "");
  write("nothing.yaml", "# only a comment\n---\n");
  write("binary.yaml", "\u0000");
  const cases: [string[], RegExp][] = [
    [["-f", "https://example.com/x.yaml"], /addresses are not fetched.*download it/],
    [["-f", "missing.yaml"], /the path "missing.yaml" does not exist/],
    [["-f", "empty"], /recognized file extensions are \[\.json \.yaml \.yml\]; -R/],
    [["-f", "nothing.yaml"], /the input holds none/],
    [[], /must specify -f/],
    [["-f", "nothing.yaml", "--dry-run", "server"], /invalid dry-run value \(server\)/],
  ];
  for (const [argv, message] of cases) {
    const run = await bench.run(["apply", ...argv]);
    assert.equal(run.exitCode, 1);
    assert.match(run.err, message);
    assert.match(run.err, /^error: /);
  }
});

test("apply --wait fails when the agent does not answer in time", async () => {
  write("edge.yaml", filter);
  mkdirSync(join(bench.directory, "run"));
  const silent = createServer(() => undefined).listen(join(bench.directory, "run/bpfleet-agent.sock"));
  await once(silent, "listening");
  try {
    const run = await bench.run(["apply", "--wait", "300ms", "-f", "edge.yaml"]);
    assert.equal(run.exitCode, 1);
    assert.match(run.err, /error: timed out waiting for 1 of 1 object\nerror: .*edge: the agent has not answered yet/);
  } finally {
    silent.close();
  }
});

test("get names files of the store that cannot be read, and shows the others", async () => {
  write("edge.yaml", filter);
  await bench.run(["apply", "-f", "edge.yaml"]);
  write("objects/networking.fos1.io/EBPFProgram/default/bad.yaml", "kind: [\n");
  const run = await bench.run(["get", "ebpf", "-o", "name"]);
  assert.equal(run.out, "ebpfprogram.networking.fos1.io/edge\n");
  assert.match(run.err, /warning: DIR\/objects\/.*\/bad\.yaml:\d+:\d+: parse YAML: .*; correct or remove it\n/);
});

test("get warns that nobody serves the store, and that the status is the last run's", async () => {
  const run = await bench.run(["get", "ebpf"]);
  assert.match(
    run.err,
    /^warning: ask the agent at DIR\/run\/bpfleet-agent\.sock: nobody answers \(ENOENT\); start it with: ebpfctl up; shown is what is stored/,
  );
  assert.equal(run.exitCode, 0);
});

test("describe shows status, conditions and events of the last run", async () => {
  write("edge.yaml", filter);
  await bench.run(["apply", "-f", "edge.yaml"]);
  const { out } = await bench.run(["get", "ebpf/edge", "-o", "json"]);
  const { uid } = (JSON.parse(out) as { metadata: { uid: string } }).metadata;
  const record = {
    ref: { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name: "edge" },
    uid,
    creationTimestamp: "2026-11-21T12:00:00Z",
    generation: 1,
    resourceVersion: "1",
    spec: "",
    state: "in-force",
    messages: [],
    status: {
      state: "Active",
      attachedTo: "eth0",
      observedGeneration: 1,
      conditions: [
        {
          type: "Ready",
          status: "True",
          reason: "InForce",
          message: "in force",
          lastTransitionTime: "2026-11-21T11:59:00Z",
        },
      ],
      metrics: { packetsDropped: 12, rules: [{ rule: "10.10.10.0/24", packets: 12 }] },
    },
    events: [
      {
        type: "Warning",
        reason: "InterfaceNotFound",
        message: "interface eth0 does not exist yet",
        count: 3,
        firstTimestamp: "2026-11-21T11:50:00Z",
        lastTimestamp: "2026-11-21T11:58:00Z",
      },
      {
        type: "Normal",
        reason: "Attached",
        message: "runs on eth0",
        count: 1,
        firstTimestamp: "2026-11-21T11:59:00Z",
        lastTimestamp: "2026-11-21T11:59:00Z",
      },
    ],
  };
  write("state/status/networking.fos1.io/EBPFProgram/default/edge.json", JSON.stringify(record));
  matchGolden("describe.txt", await transcript("describe ebpf/edge", "get ebpf"));
});
