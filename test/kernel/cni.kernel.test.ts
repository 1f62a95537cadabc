import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { recordedResults } from "@bpfleet/daemon/testing";
import { until } from "@bpfleet/native/testing";
import {
  allowedPort,
  plugin,
  bridgeList,
  CniNode,
  deniedPort,
  oneWayPolicy,
  podObject,
  policyObject,
  ptpList,
  type CniPod,
} from "./cni-rig/cni-node.ts";
import { variablesOf, writeList, type PluginRun, type Received } from "./cni-rig/first-packet.ts";

/** Machines that run many tests at once are slow. */
const patient = ["--timeout-ms", "30000"];
/** Packets that pass, so that it would be seen if others did; and how often it is tried to send so many. */
const [enough, mostRounds] = [100, 50];

let node: CniNode;
beforeEach(async () => {
  node = await CniNode.make();
  writeList(join(node.confDir, "10-pods.conflist"), bridgeList);
});
afterEach(() => node[Symbol.asyncDispose]());

function succeeded(runs: readonly PluginRun[]): void {
  for (const { exitCode, output } of runs) assert.equal(exitCode, 0, output);
}

function of(received: ReadonlyMap<number, Received>, port: number): Received {
  return received.get(port) ?? assert.fail(`nothing counts at ${port}`);
}

/** What reaches the other of what is sent for so long, and for longer on a machine that sends little. */
async function sendFor(
  forMs: number,
  send: () => AsyncDisposable,
  receive = () => node.packets.receive(node.peer.netns, [deniedPort, allowedPort]),
): Promise<Map<number, Received>> {
  const all = new Map<number, Received>();
  for (let rounds = 0; rounds < mostRounds && (all.get(allowedPort)?.count ?? 0) <= enough; rounds++) {
    const receiver = await receive();
    {
      await using _sending = send();
      await sleep(forMs);
    }
    for (const [port, { count, firstNs, lastNs }] of await receiver.end()) {
      const before = all.get(port);
      if (before === undefined || before.count === 0) all.set(port, { count, firstNs, lastNs });
      else if (count > 0) all.set(port, { count: before.count + count, firstNs: before.firstNs, lastNs });
    }
  }
  return all;
}

/** From when the first process of the pod runs, which is when `ADD` is over. */
function sendAfterAdd(pod: CniPod, forMs: number, toMac?: string): Promise<Map<number, Received>> {
  return sendFor(forMs, () => node.sendFrom(pod, { toMac }));
}

test("bpfleet-cni lets a pod start when its policy is in force: nothing passes that it denies, from the first packet on", async (t) => {
  node.install(...patient);
  const pods = Array.from({ length: 3 }, (_, at) => node.pod("shop", `web-${at}`));
  await node.change({ write: [policyObject("shop"), ...pods.map((pod) => podObject(pod, { app: "web" }))] });
  for (const pod of pods) {
    const runs = await node.add(node.readList(), pod);
    succeeded(runs);
    assert.deepEqual(JSON.parse(runs[1]?.output ?? ""), JSON.parse(runs[0]?.output ?? "-"));
    const received = await sendAfterAdd(pod, 200);
    assert.equal(of(received, deniedPort).count, 0);
    assert.ok(of(received, allowedPort).count > enough, "what is allowed passes");
    t.diagnostic(`ADD by bpfleet-cni ${runs[1]?.ms.toFixed(0)} ms, ${of(received, allowedPort).count} allowed`);
  }
});

test("bpfleet-cni closes pods that ptp connects, each by a route of its own", async () => {
  writeList(join(node.confDir, "10-pods.conflist"), ptpList);
  node.routeToPeer();
  node.install(...patient);
  const [web, free] = [node.pod("shop", "web"), node.pod("shop", "free")];
  await node.change({
    write: [policyObject("shop"), podObject(web, { app: "web" }), podObject(free, { app: "free" })],
  });
  for (const pod of [web, free]) {
    const runs = await node.add(node.readList(), pod);
    succeeded(runs);
    assert.deepEqual(JSON.parse(runs[1]?.output ?? ""), JSON.parse(runs[0]?.output ?? "-"));
    const { interfaces } = JSON.parse(runs[0]?.output ?? "") as { interfaces: readonly { readonly mac: string }[] };
    const received = await sendAfterAdd(pod, 200, interfaces[0]?.mac);
    assert.ok(of(received, allowedPort).count > enough, "what is allowed is forwarded");
    assert.equal(of(received, deniedPort).count > 0, pod === free);
    await node.delete(node.readList(), pod);
  }
});

const [ACK, SYN_ACK] = [0x10, 0x12];

/** What reaches the other end of segments that answer nothing, by which no connection can be opened. */
async function answersThatPass(pod: CniPod, sender: "pod" | "peer", flags: number): Promise<Map<number, Received>[]> {
  const all: Map<number, Received>[] = [];
  for (const [own, other] of [
    [pod.address, node.peer.address],
    ["fd00::99", "fd00::2"],
  ] as const) {
    const isOfPod = sender === "pod";
    const send = (): AsyncDisposable =>
      node.packets.sendSegments({
        netns: isOfPod ? pod.netns : node.peer.netns,
        interface: "eth0",
        fromMac: isOfPod ? "02:00:00:00:00:99" : node.peer.mac,
        from: isOfPod ? own : other,
        to: isOfPod ? other : own,
        flags,
        // By the ports, and by SYN and ACK, the other end seems to have opened the connection.
        fromPort: isOfPod ? 1 : 40_000,
        ports: [deniedPort, allowedPort],
        cgroup: isOfPod ? pod.cgroup.folder : undefined,
      });
    const where = isOfPod ? node.peer.netns : pod.netns;
    all.push(await sendFor(200, send, () => node.packets.receiveSegments(where, [deniedPort, allowedPort])));
  }
  return all;
}

test("bpfleet-cni lets a pod start without a grace: TCP that answers nothing passes no sooner than a connection may", async () => {
  node.install(...patient);
  const [caller, server, older] = [node.pod("shop", "caller"), node.pod("shop", "server"), node.pod("shop", "older")];
  const isShut = (received: readonly Map<number, Received>[]): void => {
    for (const each of received) {
      assert.equal(of(each, deniedPort).count, 0);
      assert.ok(of(each, allowedPort).count > enough, "what may be opened passes");
    }
  };
  await node.change({
    write: [
      oneWayPolicy("shop", "Egress"),
      oneWayPolicy("shop", "Ingress"),
      podObject(caller, { app: "egress" }),
      podObject(server, { app: "ingress" }),
      podObject(older, { app: "egress" }),
    ],
  });
  succeeded(await node.add(node.readList(), caller));
  isShut(await answersThatPass(caller, "pod", ACK));
  succeeded(await node.add(node.readList(), server));
  isShut(await answersThatPass(server, "peer", SYN_ACK));
  await using _caller = node.live(caller);
  await using _server = node.live(server);
  await node.stop();
  await node.start();
  await node.change({});
  isShut(await answersThatPass(caller, "pod", ACK));
  isShut(await answersThatPass(server, "peer", SYN_ACK));
  // Nobody knows what began in it before.
  succeeded(await node.add(bridgeList, older));
  const [open = assert.fail()] = await answersThatPass(older, "pod", ACK);
  assert.ok(of(open, deniedPort).count > 0, "its connections may be older than its policy");
});

test("without bpfleet-cni a pod is open until its processes were found and its hooks are there", async (t) => {
  const pod = node.pod("shop", "web");
  await node.change({ write: [policyObject("shop"), podObject(pod, { app: "web" })] });
  succeeded(await node.add(bridgeList, pod));
  const { count, firstNs, lastNs } = of(await sendAfterAdd(pod, 1500), deniedPort);
  assert.ok(count > 0, "the window is there to be closed");
  t.diagnostic(`${count} packets in ${(Number(lastNs - firstNs) / 1e6).toFixed(1)} ms`);
});

test("bpfleet-cni closes a pod also to what was in its namespace before its interface", async (t) => {
  node.install(...patient);
  const pod = node.pod("shop", "web");
  await node.change({ write: [policyObject("shop"), podObject(pod, { app: "web" })] });
  const receiver = await node.packets.receive(node.peer.netns, [deniedPort]);
  let addedNs: bigint;
  {
    await using _sending = node.sendFrom(pod, { joins: false });
    succeeded(await node.add(node.readList(), pod));
    addedNs = process.hrtime.bigint();
    await sleep(200);
  }
  const { count, lastNs } = of(await receiver.end(), deniedPort);
  assert.ok(lastNs < addedNs, "nothing is sent after ADD is over");
  t.diagnostic(`before ADD was over, while no process of a pod runs: ${count} packets`);
});

test("bpfleet-cni lets pods start at once that no policy selects", async () => {
  node.install(...patient);
  const [web, other] = [node.pod("shop", "db"), node.pod("office", "any")];
  await node.change({ write: [policyObject("shop"), podObject(web, { app: "db" })] });
  for (const pod of [web, other]) {
    succeeded(await node.add(node.readList(), pod));
    assert.ok(of(await sendAfterAdd(pod, 200), deniedPort).count > 0);
  }
});

test("a pod on the network of its node starts without bpfleet-cni and is judged by no policy that selects it, nor holds one back", async () => {
  node.install(...patient);
  node.routeToPeer();
  const [web, agent] = [node.pod("shop", "web"), node.pod("shop", "agent")];
  const onHost = podObject(agent, { app: "web" });
  const { objects } = await node.change({
    write: [
      policyObject("shop"),
      podObject(web, { app: "web" }),
      { ...onHost, spec: { ...(onHost as { readonly spec: object }).spec, hostNetwork: true } },
    ],
  });
  const closed = objects.find(({ ref }) => ref.name === "closed");
  assert.doesNotMatch(JSON.stringify(closed), /agent/, "nothing is waited for");
  succeeded(await node.add(node.readList(), web));
  assert.equal(of(await sendAfterAdd(web, 200), deniedPort).count, 0);
  const received = await sendFor(200, () =>
    node.packets.send({
      netns: node.netns,
      interface: "cni0",
      fromMac: "02:00:00:00:00:98",
      toMac: node.peer.mac,
      from: "10.88.0.1",
      to: node.peer.address,
      ports: [deniedPort, allowedPort],
      cgroup: agent.cgroup.folder,
    }),
  );
  for (const port of [deniedPort, allowedPort]) assert.ok(of(received, port).count > 0, `${port}`);
  const { objects: after } = await node.change({});
  assert.equal(after.find(({ ref }) => ref.name === "closed")?.state, "in-force", JSON.stringify(after));
});

test("bpfleet-cni fails closed without the daemon for whom policies select, and for nobody else", async () => {
  node.install("--timeout-ms", "300");
  const [web, db] = [node.pod("shop", "web"), node.pod("shop", "db")];
  await node.change({ write: [policyObject("shop"), podObject(web, { app: "web" }), podObject(db, { app: "db" })] });
  await node.stop();
  const [, refused] = await node.add(node.readList(), web);
  assert.equal(refused?.exitCode, 1);
  const { code, msg, details } = JSON.parse(refused?.output ?? "") as { code: number; msg: string; details: string };
  assert.equal(code, 11);
  assert.match(details, /where bpfleet has left the node for good, `bpfleet-cni uninstall` takes this plug-in out$/);
  assert.match(msg, /^start pod shop\/web: ask the daemon at .*; a policy selects it$/);
  const [, unknown] = await node.add(node.readList(), node.pod("shop", "new"));
  assert.match(unknown?.output ?? "", /policies select pods of its namespace, and it is not known yet/);
  succeeded(await node.add(node.readList(), db));
  succeeded(await node.add(node.readList(), node.pod("office", "new")));
  // Whatever the daemon does, a pod goes.
  await node.delete(node.readList(), web);
  node.install("--failure-policy", "never");
  succeeded(await node.add(node.readList(), web));
  node.install("--failure-policy", "always");
  const [, closed] = await node.add(node.readList(), node.pod("office", "newer"));
  assert.match(closed?.output ?? "", /failurePolicy is always/);
});

test("bpfleet-cni waits two seconds for a daemon that takes its question and says nothing", async () => {
  node.install();
  const web = node.pod("shop", "web");
  await node.change({ write: [policyObject("shop"), podObject(web, { app: "web" })] });
  await node.stop();
  rmSync(node.cniSocket, { force: true });
  await using daemon = createServer(() => undefined).listen(node.cniSocket);
  await once(daemon, "listening");
  const asked: Socket[] = [];
  daemon.on("connection", (socket) => asked.push(socket.on("error", () => undefined)));
  const [, refused] = await node.add(node.readList(), web);
  for (const socket of asked) socket.destroy();
  assert.equal(refused?.exitCode, 1);
  assert.match(refused?.output ?? "", /a policy selects it/);
  assert.ok(asked.length > 0);
  // Its own run alone; nothing else that it may wait for ends between.
  assert.ok(refused !== undefined && refused.ms >= 2000 && refused.ms < 5000, `${refused?.ms} ms`);
});

test("bpfleet-cni answers as the CNI specification has it", async () => {
  node.install();
  const pod = node.pod("office", "any");
  const variables = variablesOf("VERSION", pod);
  const ask = (command: string, configuration: object) =>
    node.chain.run("bpfleet-cni", configuration, { ...variables, CNI_COMMAND: command });
  const [, entry = { type: "" }] = node.readList().plugins;
  for (const cniVersion of ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]) {
    const version = await ask("VERSION", { cniVersion });
    assert.ok((JSON.parse(version.output) as { supportedVersions: string[] }).supportedVersions.includes(cniVersion));
    const prevResult = { cniVersion, interfaces: [], ips: [], "x-unknown": { kept: [1.5, "é\n"] } };
    const configuration = { ...entry, cniVersion, name: "n", prevResult };
    const added = await ask("ADD", configuration);
    assert.equal(added.exitCode, 0, added.output);
    assert.equal(added.output.trim(), JSON.stringify(prevResult));
    for (const command of ["CHECK", "DEL", "GC", "STATUS"]) {
      const { exitCode, output } = await ask(command, configuration);
      assert.deepEqual([exitCode, output], [0, ""], command);
    }
  }
  const failures: readonly [string, object, number][] = [
    ["ADD", { ...entry, cniVersion: "1.0.0", name: "n" }, 7],
    ["ADD", { ...entry, cniVersion: "0.2.0", name: "n", prevResult: {} }, 1],
    ["ADD", { ...entry, cniVersion: "1.0.0", name: "n", prevResult: {}, failurePolicy: "open" }, 7],
    ["MOVE", { ...entry, cniVersion: "1.0.0", name: "n" }, 4],
  ];
  for (const [command, configuration, expected] of failures) {
    const { exitCode, output } = await ask(command, configuration);
    const { code, msg, cniVersion } = JSON.parse(output) as Record<string, unknown>;
    assert.deepEqual([exitCode, code], [1, expected], output);
    assert.ok(typeof msg === "string" && msg !== "" && typeof cniVersion === "string");
  }
});

test("bpfleet-cni hands on what the plug-ins of others answer, byte for byte", async () => {
  node.install();
  const [, entry = { type: "" }] = node.readList().plugins;
  for (const { by, result } of recordedResults) {
    const pod = node.pod("office", "any");
    const configuration = { ...entry, cniVersion: "1.0.0", name: "n", prevResult: result };
    const { exitCode, output } = await node.chain.run("bpfleet-cni", configuration, variablesOf("ADD", pod));
    assert.deepEqual([exitCode, output.trim()], [0, JSON.stringify(result)], by);
  }
});

test("bpfleet-cni uninstall leaves the network configuration as it was, byte for byte", () => {
  const path = join(node.confDir, "10-pods.conflist");
  const before = readFileSync(path);
  node.install();
  assert.deepEqual(
    node.readList().plugins.map(({ type }) => type),
    ["bridge", "bpfleet-cni"],
  );
  const installed = readFileSync(path);
  node.install();
  assert.deepEqual(readFileSync(path), installed, "once more changes nothing");
  node.uninstall();
  assert.deepEqual(readFileSync(path), before);
});

test("bpfleet-cni install puts a list before a configuration of one plug-in, which stays as it is", () => {
  const single = join(node.confDir, "05-one.conf");
  const text = '{ "cniVersion": "0.4.0",\n "name": "one", "type": "bridge" }\n';
  writeFileSync(single, text);
  node.install();
  const list = node.readList("05-one.bpfleet.conflist");
  assert.deepEqual([list.name, list.plugins.map(({ type }) => type)], ["one", ["bridge", "bpfleet-cni"]]);
  assert.equal(readFileSync(single, "utf8"), text);
  assert.doesNotMatch(readFileSync(join(node.confDir, "10-pods.conflist"), "utf8"), /bpfleet-cni/);
  rmSync(single);
  node.install();
  assert.deepEqual(readdirSync(node.confDir), ["10-pods.conflist"]);
  assert.match(readFileSync(join(node.confDir, "10-pods.conflist"), "utf8"), /bpfleet-cni/);
});

test("bpfleet-cni install --watch adds itself again where the main plug-in writes its configuration anew", async () => {
  const path = join(node.confDir, "10-pods.conflist");
  const places = ["--conf-dir", node.confDir, "--bin-dir", node.binDir];
  const child = spawn(plugin, ["install", "--watch", ...places], { stdio: ["ignore", "ignore", "inherit"] });
  try {
    const isIn = (name: string) => () => {
      try {
        return readFileSync(join(node.confDir, name), "utf8").includes("bpfleet-cni");
      } catch {
        return false;
      }
    };
    await until("it is in", isIn("10-pods.conflist"), 20_000);
    const other = { ...bridgeList, plugins: [...bridgeList.plugins, { type: "tuning" }] };
    writeList(path, other);
    await until("it is in again", isIn("10-pods.conflist"), 20_000);
    // As many do: beside it, then over it; and one that comes first.
    writeList(`${path}.tmp`, bridgeList);
    renameSync(`${path}.tmp`, path);
    await until("it is in once more", isIn("10-pods.conflist"), 20_000);
    writeList(join(node.confDir, "05-first.conflist"), other);
    await until("it is in the first", isIn("05-first.conflist"), 20_000);
    await until("and no longer in the second", () => !isIn("10-pods.conflist")(), 20_000);
  } finally {
    child.kill();
    await once(child, "exit");
  }
  node.uninstall();
  assert.equal(readFileSync(path, "utf8"), `${JSON.stringify(bridgeList, undefined, 2)}\n`);
});
