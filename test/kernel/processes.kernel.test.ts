import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fetchReport } from "@bpfleet/agent";
import { Traffic, until } from "@bpfleet/daemon/testing";
import { answerOf, blocked, free, other, target, TwoProcesses } from "./two-processes.ts";

/** Atomically, as ebpfctl writes it. */
function declare(node: TwoProcesses, blacklist: readonly string[]): void {
  const folder = join(node.store, "networking.fos1.io/EBPFProgram/default");
  mkdirSync(folder, { recursive: true });
  const text = [
    "apiVersion: networking.fos1.io/v1alpha1",
    "kind: EBPFProgram",
    "metadata: { name: filter, namespace: default }",
    "spec:",
    "  type: xdp",
    "  interface: v0",
    `  settings: { blacklist: { enabled: true, ips: ${JSON.stringify(blacklist)} } }`,
    "",
  ].join("\n");
  writeFileSync(join(folder, ".new"), text);
  renameSync(join(folder, ".new"), join(folder, "filter.yaml"));
}

function store(node: TwoProcesses, path: string, lines: readonly string[]): void {
  mkdirSync(join(node.store, dirname(path)), { recursive: true });
  writeFileSync(join(node.store, `${path}.yaml`), `${lines.join("\n")}\n`);
}

function textBelow(folder: string): string {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return files.map((file) => textOf(join(file.parentPath, file.name))).join();
}

/** A file that is being replaced has another name a moment later. */
function textOf(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}

describe("daemon and agent as processes of their own", () => {
  it("put in force what is declared, and say when they are ready", async () => {
    await using node = await TwoProcesses.make();
    declare(node, [blocked]);
    const port = 20_000 + (process.pid % 10_000);
    node.startAgent({ BPFLEET_STORE: node.store, BPFLEET_HEALTH_ADDR: `127.0.0.1:${port}` });
    const ask = (path: string): Promise<number> => answerOf({ port, path });
    await until("the agent answers", async () => (await ask("/healthz")) === 200);
    assert.equal(await ask("/readyz"), 503, "there is no daemon yet");
    await node.startDaemon();
    await until("the agent is ready", async () => (await ask("/readyz")) === 200);
    await until("the packet is dropped", () => !node.answers(blocked));
    assert.equal(node.answers(free), true);
    assert.match(node.said("daemon"), /Hardware acceleration is not served yet/);
    assert.equal(await ask("/metrics"), 200);
    const { objects } = await fetchReport(`${node.env["BPFLEET_SOCKET"]?.replace(".sock", "")}-agent.sock`);
    assert.deepEqual(
      objects.map(({ ref, state }) => [ref.name, state]),
      [["filter", "in-force"]],
    );
    declare(node, [other]);
    await until("the other one is dropped", () => !node.answers(other));
    assert.equal(node.answers(blocked), true);
    assert.equal(await node.stop("agent"), 0);
    assert.equal(await node.stop("daemon"), 0);
    assert.deepEqual([node.answers(blocked), node.answers(free), node.answers(other)], [true, true, false]);
  });

  it("leave every verdict as it is when either is killed, and the next plan arrives", async (t) => {
    await using node = await TwoProcesses.make();
    declare(node, [blocked]);
    await node.startDaemon();
    node.startAgent();
    await until("the packet is dropped", () => !node.answers(blocked));
    await using traffic = await Traffic.start(node.near, [blocked, free], node.far, target);
    for (let round = 0; round < 4; round++) {
      const changed = round % 2 === 0 ? [blocked, other] : [blocked];
      const holds = (): boolean => node.answers(other) === (round % 2 === 1);
      // At any moment of what comes of the change: before it is read, on its way, half applied, done.
      declare(node, changed);
      await sleep(Math.random() * 300);
      if (round < 2) {
        await node.stop("daemon", "SIGKILL");
        await node.startDaemon();
      } else {
        await node.stop("agent", "SIGKILL");
        node.startAgent();
      }
      await until(`the plan of round ${round} is in force`, holds);
    }
    await node.stop("agent", "SIGKILL");
    await node.stop("daemon", "SIGKILL");
    const { sent, received } = await traffic.stop();
    assert.deepEqual(received[blocked] ?? [], [], "blocked all the time: none may pass");
    assert.deepEqual(received[free], sent[free], "permitted all the time: none may be lost");
    t.diagnostic(`${sent[free]?.length} packets`);
  });

  it("go on over the end of certificates, and hear of new ones", async () => {
    await using node = await TwoProcesses.make();
    declare(node, [blocked]);
    const end = performance.now() + 25_500;
    node.issue(25);
    await node.startDaemon();
    node.startAgent();
    await until("the packet is dropped", () => !node.answers(blocked));
    await until("the certificates have ended", () => performance.now() > end, 30_000);
    declare(node, [other]);
    await until("the agent says so", () => /certificate .* has ended|cut the connection/.test(node.said("agent")));
    assert.deepEqual([node.answers(blocked), node.answers(other)], [false, true], "what is in force stays");
    node.issue();
    await until("the new plan is in force", () => !node.answers(other), 40_000);
    assert.equal(node.answers(blocked), true);
  });

  it("of two versions do not work together where programs differ: it is told, and what is in force stays", async () => {
    await using node = await TwoProcesses.make();
    declare(node, [blocked]);
    await node.startDaemon();
    node.startAgent();
    await until("the packet is dropped", () => !node.answers(blocked));
    await node.stop("daemon");
    const list = node.env["BPFLEET_OBJECTS"] ?? "";
    const own = readFileSync(list, "utf8");
    const { filter, ...rest } = JSON.parse(own) as Record<string, object>;
    writeFileSync(list, JSON.stringify({ ...rest, filter: { ...filter, layout: "of another version" } }));
    await node.startDaemon();
    declare(node, [other]);
    const said = /its programs filter are not those that agent .* plans for; run agent and daemon of one version/;
    await until("the agent says so", () => said.test(node.said("agent")), 60_000);
    assert.deepEqual([node.answers(blocked), node.answers(other)], [false, true]);
    await node.stop("agent");
    node.startAgent();
    await until("a new agent says so too", () => said.test(node.said("agent")), 60_000);
    assert.deepEqual([node.answers(blocked), node.answers(other)], [false, true]);
    await node.stop("daemon");
    writeFileSync(list, own);
    await node.startDaemon();
    await until("the new plan is in force", () => !node.answers(other), 60_000);
    assert.equal(node.answers(blocked), true);
  });

  it("apply the last plan after the kernel lost everything, before there is an agent", async () => {
    await using node = await TwoProcesses.make();
    declare(node, [blocked]);
    await node.startDaemon();
    node.startAgent();
    await until("the packet is dropped", () => !node.answers(blocked), 60_000);
    await node.stop("agent");
    await node.stop("daemon", "SIGKILL");
    // As after a reboot: with its pins everything of ours leaves the kernel.
    rmSync(join(node.env["BPFLEET_BPFFS"] ?? "", "bpfleet"), { recursive: true });
    await until("the kernel has lost it", () => node.answers(blocked));
    await node.startDaemon();
    await until("the packet is dropped again", () => !node.answers(blocked), 60_000);
    assert.equal(node.answers(free), true);
  });

  it("keep pull secrets in memory: they are in no log and on no disk but that of the store", async () => {
    await using node = await TwoProcesses.make();
    const password = randomBytes(12).toString("hex");
    const auths = {
      "registry.invalid": { username: "u", password, auth: Buffer.from(`u:${password}`).toString("base64") },
    };
    const secret = Buffer.from(JSON.stringify({ auths })).toString("base64");
    store(node, "core/Secret/bpfd/regcred", [
      "apiVersion: v1",
      "kind: Secret",
      "metadata: { name: regcred, namespace: bpfd }",
      "type: kubernetes.io/dockerconfigjson",
      `data: { .dockerconfigjson: ${secret} }`,
    ]);
    store(node, "bpfd.io/BpfProgramConfig/_/private", [
      "apiVersion: bpfd.io/v1alpha1",
      "kind: BpfProgramConfig",
      "metadata: { name: private }",
      "spec:",
      "  name: pass",
      "  type: XDP",
      "  nodeselector: {}",
      "  attachpoint: { networkmultiattach: { interface: v0, priority: 1 } }",
      "  bytecode: { image: { url: registry.invalid/pass:latest, imagepullsecret: regcred } }",
    ]);
    node.env["LOG_LEVEL"] = "debug";
    await node.startDaemon();
    node.startAgent();
    const status = (): string => textBelow(join(node.sandbox.dir, "agent-state"));
    await until("the pull was tried", () => /registry\.invalid/.test(status()), 60_000);
    const kept = ["daemon-state", "agent-state", "run"].map((folder) => textBelow(join(node.sandbox.dir, folder)));
    const everything = [...kept, node.said("daemon"), node.said("agent")].join();
    for (const word of [password, secret, auths["registry.invalid"].auth])
      assert.equal(everything.includes(word), false, word);
  });

  it("tell what they were told wrongly, all at once", async () => {
    await using node = await TwoProcesses.make();
    node.startAgent({ BPFLEET_STORE: node.store, LOG_LEVEL: "loud", BPFLEET_HEALTH_ADDR: "9092" });
    await until("it ends", () => /--health-addr/.test(node.said("agent")));
    assert.match(node.said("agent"), /--log-level/);
  });
});
