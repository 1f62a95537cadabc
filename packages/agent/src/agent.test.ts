import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { refKey, type Clock } from "@bpfleet/base";
import type { Feature, FilterIntent, MapIntent } from "@bpfleet/features";
import { kinds } from "@bpfleet/kinds";
import { startAgent, type Agent } from "./agent.ts";
import { fetchReport, syncAgent } from "./api/client.ts";
import { serveAgent } from "./api/server.ts";
import type { ObjectReport } from "./report.ts";
import { cutManifest } from "./store/cut-manifest.ts";
import { DirectoryStore } from "./store/directory-store.ts";
import { objectPath } from "./store/object-path.ts";
import { identify } from "./store/stored-object.ts";
import { ObedientDaemon } from "./testing/obedient-daemon.ts";

const clock: Clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
/** One program an intent, attached where the interface is there; `poison` in the blacklist makes it throw. */
const filter: Feature<FilterIntent> = {
  name: "filter",
  passReasons: ["passed"],
  counterRoles: [],
  counters: () => assert.fail("the daemon counts"),
  plan(intents, facts) {
    const wanted = intents.map((intent) => {
      if (intent.blacklist?.entries.some((entry) => entry.text === "203.0.113.66")) throw new TypeError("poisoned");
      assert.ok(intent.at.hook === "xdp");
      const owner = intent.origin.object;
      return {
        owner,
        origin: intent.origin,
        interface: intent.at.interface,
        key: `filter/${owner.namespace}/${owner.name}`,
        texts: intent.blacklist?.entries.map((entry) => entry.text) ?? [],
      };
    });
    const there = wanted.filter((want) => facts.interfaces.some(({ name }) => name === want.interface));
    return {
      maps: [],
      programs: wanted.map(({ key, owner, texts }) => ({
        key,
        owner,
        name: "filter",
        type: "xdp",
        object: { name: "filter", digest: "d" },
        entry: "filter",
        globals: { count: texts.length },
        maps: {},
      })),
      attachments: there.map((want) => ({
        point: { hook: "xdp", interface: want.interface },
        member: { program: want.key, priority: 10, proceedOn: [2] },
      })),
      instances: wanted.map(({ key, owner }) => ({
        feature: "filter",
        owner,
        key,
        programs: [key],
        maps: {},
        rules: [],
        data: null,
      })),
      problems: wanted
        .filter((want) => !there.includes(want))
        .map(({ origin, interface: name }) => ({
          origin,
          reason: "InterfaceNotFound",
          message: `interface ${name} does not exist yet`,
          severity: "waiting",
        })),
    };
  },
};

const maps: Feature<MapIntent> = {
  ...filter,
  name: "maps",
  plan: () => ({ maps: [], programs: [], attachments: [], instances: [], problems: [] }),
};

let directory: string;
let daemon: ObedientDaemon;
let notices: string[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "bpfleet-agent-"));
  daemon = new ObedientDaemon();
  notices = [];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const storeDir = () => join(directory, "objects");
const start = (): Promise<Agent> =>
  startAgent({
    store: storeDir(),
    stateDir: join(directory, "state"),
    daemon,
    features: [filter, maps],
    kinds,
    clock,
    onNotice: (notice) => notices.push(notice),
  });

function program(name: string, interfaceName: string, ips: readonly string[] = ["10.0.0.1"]): string {
  return `apiVersion: networking.fos1.io/v1alpha1
kind: EBPFProgram
metadata:
  name: ${name}
spec:
  type: xdp
  interface: ${interfaceName}
  settings:
    blacklist:
      enabled: true
      ips: [${ips.map((ip) => `"${ip}"`).join(", ")}]
`;
}

const refOf = (name: string) => ({ group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name });
const pathOf = (name: string) => join(storeDir(), objectPath(refOf(name), "yaml"));

async function apply(text: string): Promise<void> {
  const store = new DirectoryStore({ directory: storeDir(), clock });
  await store.writeAll(
    cutManifest(text, "/home/me/x.yaml").objects.map(({ manifest, text: own, source }) => {
      const identity = identify(manifest);
      assert.ok("ref" in identity);
      return { ref: { ...identity.ref, namespace: "default" }, value: manifest.value, text: own, source };
    }),
  );
}

async function reportOf(agent: Agent, name: string): Promise<ObjectReport> {
  const { objects } = await agent.report();
  return objects.find(({ ref }) => refKey(ref) === refKey(refOf(name))) ?? assert.fail(`no report of ${name}`);
}

async function until(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 5000;
  while (!(await isTrue())) {
    if (performance.now() > end) assert.fail(`not within 5 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

test("the agent asks where the traffic of pods is judged that annotations make endpoints, once a policy asks", async () => {
  const pod = (name: string, annotations: string): string =>
    `apiVersion: v1\nkind: Pod\nmetadata:\n  name: ${name}\n  annotations: {${annotations}}\n`;
  await using agent = await start();
  await apply(
    [pod("web", "bpfleet.io/netns: web"), pod("db", "bpfleet.io/cgroup: /db"), pod("plain", "")].join("---\n"),
  );
  await agent.sync();
  assert.equal(daemon.wishes.length, 0);
  const policy = {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "closed" },
    spec: { podSelector: {} },
  };
  await apply(JSON.stringify(policy));
  await agent.sync();
  const asked = daemon.wishes.map(({ key: _uid, ...rest }) => rest);
  assert.deepEqual(
    asked.toSorted((a, b) => ((a.netns ?? "") < (b.netns ?? "") ? -1 : 1)),
    [
      { pod: { namespace: "default", name: "db", uids: [] }, cgroups: ["/db"], isSelected: true },
      { pod: { namespace: "default", name: "web", uids: [] }, netns: "web", isSelected: true },
    ],
  );
});

test("startAgent plans for everything that is stored, and says that the plan is complete", async () => {
  await apply(program("a", "eth0"));
  await using agent = await start();
  assert.deepEqual(
    daemon.plan.hooks.map((hook) => hook.key),
    ["xdp/eth0"],
  );
  assert.equal(daemon.isComplete, true);
  const { state, object } = await reportOf(agent, "a");
  assert.equal(state, "in-force");
  assert.equal((object.status as { state: string }).state, "Active");
});

test("startAgent puts what is applied later into force without being asked", async () => {
  await using _agent = await start();
  await apply(program("a", "eth0"));
  await until("the program is planned", () => daemon.plan.programs.length === 1);
  rmSync(pathOf("a"));
  await until("the program is gone", () => daemon.plan.programs.length === 0);
});

test("startAgent makes one plan of all objects that were applied together", async () => {
  await using _agent = await start();
  const names = Array.from({ length: 30 }, (_, at) => `p${at}`);
  for (const list of ["10.0.0.1", "10.0.0.2"]) {
    const before = daemon.plans;
    await apply(names.map((name) => program(name, "eth0", [list])).join("---\n"));
    await until("all are planned", () => daemon.plans > before && daemon.plan.programs.length === names.length);
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(daemon.plans, before + 1);
  }
});

test("startAgent lets who asks while counters are read wait for them", async () => {
  await apply(program("a", "eth0"));
  await using agent = await start();
  await agent.report();
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  await pause(120);
  const read = daemon.counters.bind(daemon);
  daemon.counters = async () => {
    await pause(30);
    return read();
  };
  daemon.hits = 41n;
  const told = await Promise.all([reportOf(agent, "a"), reportOf(agent, "a")]);
  const dropped = told.map(
    ({ object }) => (object.status as { metrics: { packetsDropped: number } }).metrics.packetsDropped,
  );
  assert.deepEqual(dropped, [41, 41]);
});

test("startAgent attaches as soon as the interface appears, and plans nothing anew when nothing follows from a change", async () => {
  await apply(program("a", "later0"));
  await using agent = await start();
  assert.equal((await reportOf(agent, "a")).state, "waiting");
  assert.match((await reportOf(agent, "a")).messages[0] ?? "", /x\.yaml:\d+: .*later0/);
  daemon.setInterfaces("eth0", "later0");
  await until("it is attached", () => daemon.plan.hooks.length === 1);
  assert.equal((await reportOf(agent, "a")).state, "in-force");
  const before = daemon.plans;
  daemon.setInterfaces("eth0", "later0", "other0");
  await agent.report();
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(daemon.plans, before);
});

test("startAgent reports what the kernel refused, and serves the others", async () => {
  daemon.setInterfaces("eth0", "broken0");
  await apply(`${program("a", "eth0")}---\n${program("b", "broken0")}`);
  await using agent = await start();
  assert.equal((await reportOf(agent, "a")).state, "in-force");
  const { state, messages } = await reportOf(agent, "b");
  assert.equal(state, "failed");
  assert.deepEqual(messages, ["attach to xdp/broken0: occupied (EBUSY)"]);
});

test("startAgent survives an object that makes a feature throw", async () => {
  await apply(`${program("a", "eth0")}---\n${program("b", "eth0", ["203.0.113.66"])}`);
  await using agent = await start();
  assert.deepEqual(
    daemon.plan.programs.map(({ key }) => key),
    ["filter/default/a"],
  );
  assert.equal((await reportOf(agent, "a")).state, "in-force");
  assert.match((await reportOf(agent, "b")).messages.join(), /poisoned; report it/);
});

test("startAgent keeps an object in force whose file somebody spoils, and says so", async () => {
  await apply(program("a", "eth0"));
  await using agent = await start();
  const sound = readFileSync(pathOf("a"), "utf8");
  writeFileSync(pathOf("a"), sound.replace("type: xdp", "type: xpd"));
  await until("the mistake is reported", async () => (await reportOf(agent, "a")).state === "failed");
  assert.deepEqual(
    daemon.plan.hooks.map((hook) => hook.key),
    ["xdp/eth0"],
  );
  assert.match((await reportOf(agent, "a")).messages.join(), /:\d+: spec\.type.*the version before it stays in force/);
  writeFileSync(pathOf("a"), "kind: [");
  await until("the file is reported", async () => (await agent.report()).broken.length === 1);
  assert.deepEqual(
    daemon.plan.hooks.map((hook) => hook.key),
    ["xdp/eth0"],
  );
  assert.equal(daemon.isComplete, true);
  writeFileSync(pathOf("a"), sound);
  await until("all is well", async () => (await reportOf(agent, "a")).state === "in-force");
});

test("startAgent removes nothing when it starts on a file that it served before and cannot read now", async () => {
  await apply(program("a", "eth0"));
  {
    await using agent = await start();
    await agent.sync();
  }
  writeFileSync(pathOf("a"), "kind: [");
  await using agent = await start();
  assert.equal(daemon.isComplete, false);
  assert.match(notices.join("\n"), /EBPFProgram a: it cannot be read, so nothing is removed/);
  rmSync(pathOf("a"));
  await agent.sync();
  assert.equal(daemon.isComplete, true);
});

test("startAgent refuses what was never sound, and removes freely all the same", async () => {
  mkdirSync(dirname(pathOf("a")), { recursive: true });
  writeFileSync(pathOf("a"), program("a", "eth0").replace("xdp", "nonsense"));
  await using agent = await start();
  const { state, object, messages } = await reportOf(agent, "a");
  assert.equal(state, "failed");
  assert.match(messages.join(), /a\.yaml:6: spec\.type/);
  assert.equal((object.status as { conditions: { type: string; status: string }[] }).conditions[0]?.status, "False");
  assert.equal(daemon.isComplete, true);
});

test("startAgent keeps status, generation and events over a restart", async () => {
  await apply(program("a", "eth0"));
  {
    await using agent = await start();
    await agent.sync();
  }
  const record = join(directory, "state/status", objectPath(refOf("a"), "json"));
  const stored = JSON.parse(readFileSync(record, "utf8")) as {
    status: { state: string };
    events: { reason: string; count: number }[];
  };
  assert.equal(stored.status.state, "Active");
  assert.ok(stored.events.length > 0);
  await using agent = await start();
  const { events } = await reportOf(agent, "a");
  assert.deepEqual(
    events.map(({ reason, count }) => [reason, count]),
    stored.events.map(({ reason, count }) => [reason, count]),
  );
  rmSync(pathOf("a"));
  await agent.sync();
  await until("the record is gone", () => statSync(record, { throwIfNoEntry: false }) === undefined);
});

test("startAgent counts the generations of a file that is edited by hand", async () => {
  mkdirSync(dirname(pathOf("a")), { recursive: true });
  for (const [at, ip] of ["10.0.0.1", "10.0.0.2", "10.0.0.3"].entries()) {
    writeFileSync(pathOf("a"), program("a", "eth0", [ip]));
    await using agent = await start();
    await agent.sync();
    assert.equal((await reportOf(agent, "a")).object.metadata.generation, at + 1);
  }
});

test("startAgent asks for the cgroups of all pods", async () => {
  await using agent = await start();
  const store = new DirectoryStore({ directory: storeDir(), clock });
  const text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, annotations: {bpfleet.io/cgroup: /pods/p}}\n";
  const [cut] = cutManifest(text, "p.yaml").objects;
  assert.ok(cut);
  await store.write({
    ref: { group: "", kind: "Pod", namespace: "default", name: "p" },
    value: cut.manifest.value,
    text,
    source: cut.source,
  });
  await agent.sync();
  assert.deepEqual(daemon.cgroups, ["/pods/p"]);
});

test("serveAgent answers on its socket with fresh counters, and only one serves it", async () => {
  await apply(program("a", "eth0"));
  await using agent = await start();
  const socket = join(directory, "run/agent.sock");
  await assert.rejects(fetchReport(socket), { code: "unreachable" });
  await using _server = await serveAgent(agent, socket);
  assert.equal(statSync(socket).mode & 0o777, 0o600);
  daemon.hits = 7n;
  await until("the counters are read again", async () => {
    const { objects } = await fetchReport(socket);
    return (
      (objects[0]?.object.status as { metrics?: { packetsDropped: number } } | undefined)?.metrics?.packetsDropped === 7
    );
  });
  await apply(program("b", "eth0"));
  assert.equal((await syncAgent(socket)).objects.length, 2);
  await assert.rejects(serveAgent(agent, socket), /another agent answers/);
});
