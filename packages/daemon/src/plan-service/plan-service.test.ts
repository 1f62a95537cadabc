import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { createServer, connect as connectPlain, type Socket } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { identityKey, type NodePlan } from "@bpfleet/kernel";
import { RemoteBench } from "../testing/remote-bench.ts";
import { instance, planOn, sealedMap } from "../testing/test-plans.ts";
import { until } from "../testing/until.ts";
import type { RemoteDaemon } from "./remote-daemon.ts";

const complete = { complete: true } as const;
const unused = "/var/empty";

async function settle(daemon: RemoteDaemon, plan: NodePlan): Promise<void> {
  daemon.setPlan(plan, complete);
  await daemon.settled();
}

test("RemoteDaemon says everything again to a daemon that was restarted, and the kernel is not touched by it", async () => {
  await using bench = new RemoteBench();
  const { world } = bench.node;
  for (const each of ["eth0", "eth1"]) world.addInterface(each);
  world.addCgroup("/a");
  await bench.serve();
  const daemon = await bench.connect();
  await daemon.watchCgroups(["/a"]);
  await settle(daemon, planOn(["eth0"]));
  const changes: string[] = [];
  world.intercept = ({ method }) => void changes.push(method);
  await bench.restartDaemon();
  await until("it is reached again", () => bench.node.cgroupPaths.length === 1 && daemon.isConnected);
  await daemon.settled();
  assert.deepEqual(daemon.facts().cgroups, bench.node.daemon.facts().cgroups);
  assert.deepEqual(Object.keys(daemon.facts().cgroups), ["/a"]);
  assert.equal(daemon.results().isComplete, true);
  assert.deepEqual(changes, []);
  await settle(daemon, planOn(["eth0", "eth1"]));
  assert.equal(world.hooks.size, 2);
});

test("RemoteDaemon keeps what it was told while the daemon is away, says so after a while, and brings the newest plan", async () => {
  await using bench = new RemoteBench();
  const { world } = bench.node;
  for (const each of ["eth0", "eth1"]) world.addInterface(each);
  await bench.serve();
  const daemon = await bench.connect();
  await settle(daemon, planOn(["eth0"]));
  await bench.stopDaemon();
  await until("the loss is told", () => daemon.results().trouble !== undefined);
  assert.match(daemon.results().trouble ?? "", /^reach the daemon at .*plan\.sock: /);
  assert.equal(daemon.results().items.length, 3);
  assert.equal(daemon.results().isSettled, false);
  await assert.rejects(daemon.counters(), /it cannot be reached now/);
  daemon.setPlan(planOn([]), complete);
  daemon.setPlan(planOn(["eth1"]), complete);
  await daemon.settled();
  assert.deepEqual([...world.hooks.keys()], [identityKey("xdp/eth0")]);
  await bench.restartDaemon();
  await until("the newest plan is in force", () => daemon.results().isSettled);
  assert.deepEqual([...world.hooks.keys()], [identityKey("xdp/eth1")]);
  assert.equal(daemon.results().trouble, undefined);
  assert.match(bench.notices.at(-1) ?? "", /it answers again$/);
});

test("PlanServer listens when its certificates have come and its socket can be made, whichever is last", async () => {
  await using bench = new RemoteBench();
  const { cert } = bench.certificates.pathsOf("daemon");
  const folder = join(bench.folder, "later");
  const socket = join(folder, "plan.sock");
  renameSync(cert, `${cert}.away`);
  writeFileSync(folder, "");
  await bench.serve({ socket });
  renameSync(`${cert}.away`, cert);
  const refused = (): number => bench.troubles.filter((trouble) => /^serve plans at .*later/.test(trouble)).length;
  await until("it is refused", () => refused() > 0);
  rmSync(folder);
  const daemon = await bench.connect({ socket });
  assert.equal(daemon.isConnected, true);
  assert.equal(refused(), 1);
});

test("PlanServer takes a new agent's whole plan in place of the last one's", async () => {
  await using bench = new RemoteBench();
  const { world } = bench.node;
  for (const each of ["eth0", "eth1"]) world.addInterface(each);
  await bench.serve();
  const first = await bench.connect();
  await settle(first, planOn(["eth0"]));
  await first[Symbol.asyncDispose]();
  assert.equal(world.hooks.size, 1);
  const second = await bench.connect();
  assert.equal(world.hooks.size, 1, "nothing goes before it has said what it wants");
  assert.equal(second.results().items.length, 3);
  assert.deepEqual(
    (await second.lastPlan()).hooks.map(({ key }) => key),
    ["xdp/eth0"],
  );
  await settle(second, planOn(["eth1"]));
  assert.deepEqual([...world.hooks.keys()], [identityKey("xdp/eth1")]);
});

test("PlanServer lets one agent in at a time; the next comes when the first is gone", async () => {
  await using bench = new RemoteBench();
  const told: string[] = [];
  await bench.serve({ onAgent: (what) => void told.push(what) });
  const first = await bench.connect();
  const waiting = bench.connect();
  await until("the second is refused", () =>
    bench.notices.some((notice) => /another agent, 0\.1\.0, does since \d{4}-.*Z; stop it/.test(notice)),
  );
  assert.equal(first.isConnected, true);
  await first[Symbol.asyncDispose]();
  const second = await waiting;
  assert.equal(second.isConnected, true);
  assert.deepEqual(told, ["comes", "is gone", "comes"]);
});

test("PlanServer tells an agent that changed nothing of a large plan next to nothing, and gets next to nothing", async () => {
  await using bench = new RemoteBench();
  await bench.serve();
  // What crosses, counted between the two.
  const between = join(bench.folder, "between.sock");
  let bytes = 0;
  const sockets: Socket[] = [];
  const relay = createServer((near) => {
    const far = connectPlain(bench.socket);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.push(from);
      from
        .on("data", (part) => (bytes += part.length))
        .on("error", () => undefined)
        .pipe(to);
    }
  }).listen(between);
  await once(relay, "listening");
  try {
    const daemon = await bench.connect({ socket: between });
    const large = planOn([], { maps: [sealedMap("list", 100_000)], instances: [instance("i", 100_000)] });
    daemon.setPlan({ ...large, programs: [] }, complete);
    await daemon.settled();
    assert.ok(bytes > 1_600_000, "the whole plan has crossed");
    bytes = 0;
    daemon.setPlan({ ...large, programs: [], maps: [...large.maps, sealedMap("other", 2)] }, complete);
    await daemon.settled();
    assert.ok(bytes < 20_000, `${bytes} bytes for a small map beside a large one`);
    bench.node.world.addInterface("eth9");
    bytes = 0;
    bench.node.look();
    await until("the interface is known", () => daemon.facts().interfaces.length === 1);
    assert.ok(bytes < 2000, `${bytes} bytes for an interface`);
    await daemon[Symbol.asyncDispose]();
  } finally {
    for (const socket of sockets) socket.destroy();
    relay.close();
  }
});

for (const [who, wish] of [
  ["another name", { commonName: "somebody", uri: "bpfleet://operator" }],
  ["the daemon's own certificate", { commonName: "bpfd", uri: "bpfleet://daemon" }],
] as const) {
  test(`PlanServer refuses an agent with ${who}`, async () => {
    await using bench = new RemoteBench();
    await bench.serve();
    const tls = bench.certificates.issue("other", wish);
    const abort = new AbortController();
    const connecting = bench.connect({ tls, signal: abort.signal });
    await until("it is refused", () =>
      bench.notices.some((notice) => /it must have the name URI:bpfleet:\/\/agent/.test(notice)),
    );
    abort.abort(new Error("enough"));
    await assert.rejects(connecting, /enough/);
  });
}

test("PlanServer takes an agent by its CN alone, as bpfd did, and RemoteDaemon the daemon", async () => {
  await using bench = new RemoteBench();
  bench.certificates.issueDaemon({ uri: undefined });
  await bench.serve();
  const tls = bench.certificates.issue("plain", { commonName: "bpfd-agent" });
  assert.equal((await bench.connect({ tls })).isConnected, true);
});

test("PlanServer and RemoteDaemon refuse certificates of another authority, ended ones, and none", async () => {
  await using bench = new RemoteBench();
  await bench.serve();
  bench.certificates.addAuthority("strange");
  const { ca } = bench.agentTls;
  const strange = { ...bench.certificates.issue("strange", { commonName: "bpfd-agent", authority: "strange" }), ca };
  const ended = bench.certificates.issue("ended", { commonName: "bpfd-agent", validSeconds: -10 });
  const distrusting = { ...bench.agentTls, ca: strange.cert };
  for (const [tls, saying] of [
    [strange, /it cut the connection; where this goes on, the agent's certificate is not one of the daemon's ca\.crt/],
    [ended, /the agent's certificate .* has ended; renew it$/],
    [distrusting, /its certificate is not one of our authority/],
  ] as const) {
    bench.notices.splice(0);
    const abort = new AbortController();
    const connecting = bench.connect({ tls, signal: abort.signal });
    await until(`it is refused: ${saying}`, () => bench.notices.some((notice) => saying.test(notice)));
    abort.abort(new Error("enough"));
    await assert.rejects(connecting, /enough/);
  }
  assert.ok((await bench.connect()).isConnected);
});

test("RemoteDaemon does not speak to whoever else listens on the socket", async () => {
  await using bench = new RemoteBench();
  bench.certificates.issue("daemon", { commonName: "bpfd-agent", uri: "bpfleet://agent" });
  await bench.serve();
  const abort = new AbortController();
  const connecting = bench.connect({ signal: abort.signal });
  await until("it is refused", () => bench.notices.some((notice) => /whoever answers there is not it/.test(notice)));
  abort.abort(new Error("enough"));
  await assert.rejects(connecting, /enough/);
});

test("PlanServer and RemoteDaemon go over to new certificates before the old ones end, of a new authority too", async () => {
  await using bench = new RemoteBench();
  bench.node.world.addInterface("eth0");
  bench.certificates.issueDaemon({ validSeconds: 8 });
  bench.certificates.issueAgent({ validSeconds: 8 });
  await bench.serve();
  const daemon = await bench.connect();
  await settle(daemon, planOn(["eth0"]));
  const lost: unknown[] = [];
  daemon.onChange(({ trouble }) => trouble !== undefined && lost.push(trouble));
  bench.certificates.addAuthority("next");
  bench.certificates.issueDaemon({ authority: "next" });
  bench.certificates.issueAgent({ authority: "next" });
  await new Promise((resolve) => setTimeout(resolve, 8500));
  await until("it is settled again", () => daemon.results().isSettled && daemon.isConnected);
  await settle(daemon, planOn([]));
  assert.equal(bench.node.world.hooks.size, 0);
  assert.ok(lost.length <= 1, String(lost));
});

test("PlanServer hears no more from an agent whose certificate has ended, and what is in force stays", async () => {
  await using bench = new RemoteBench();
  bench.node.world.addInterface("eth0");
  const validSeconds = 8;
  const ends = performance.now() + validSeconds * 1000;
  bench.certificates.issueAgent({ validSeconds });
  await bench.serve();
  const daemon = await bench.connect();
  await settle(daemon, planOn(["eth0"]));
  await until("it has ended", () => performance.now() > ends + 1100);
  daemon.setPlan(planOn([]), complete);
  await until("it is told", () => daemon.results().trouble !== undefined);
  assert.equal(bench.node.world.hooks.size, 1);
  bench.certificates.issueAgent();
  await until("the renewed one is heard", () => daemon.results().isSettled);
  assert.equal(bench.node.world.hooks.size, 0);
});

test("PlanServer keeps its certificates while the files are half written or do not belong together", async () => {
  await using bench = new RemoteBench();
  const paths = bench.certificates.issueDaemon();
  await bench.serve();
  const whole = readFileSync(paths.cert, "utf8");
  for (const spoil of [
    () => truncateSync(paths.cert, whole.length / 2),
    () => writeFileSync(paths.cert, ""),
    () => writeFileSync(paths.cert, readFileSync(bench.agentTls.cert)),
  ]) {
    const before = bench.troubles.length;
    spoil();
    await until("the trouble is told", () => bench.troubles.length > before);
    const agent = await bench.connect();
    await agent[Symbol.asyncDispose]();
  }
  assert.match(
    bench.troubles.at(-1) ?? "",
    /tls\.key: it is not the key of .*tls\.crt; put the two there that were issued together$/,
  );
});

test("PlanServer starts to listen when its certificates come", async () => {
  await using bench = new RemoteBench();
  const nowhere = { cert: `${unused}/tls.crt`, key: `${unused}/tls.key`, ca: `${unused}/ca.crt` };
  const later = join(bench.folder, "certificates/later/..data");
  await bench.serve({ tls: { cert: join(later, "tls.crt"), key: join(later, "tls.key"), ca: join(later, "ca.crt") } });
  const connecting = bench.connect();
  const hopeless = new AbortController();
  const never = bench.connect({ tls: nowhere, signal: hopeless.signal });
  await until("both ends say what they wait for", () =>
    [bench.troubles, bench.notices].every((said) => said.some((line) => /^certificates of the .*ENOENT/.test(line))),
  );
  bench.certificates.issue("later", { commonName: "bpfd" });
  assert.ok((await connecting).isConnected);
  hopeless.abort(new Error("enough"));
  await assert.rejects(never, /enough/);
});

test("RemoteDaemon tells why a daemon is away as it is now, not as it was at first", async () => {
  await using bench = new RemoteBench();
  await bench.serve();
  const daemon = await bench.connect({ graceMs: 50 });
  await settle(daemon, planOn([]));
  await bench.stopDaemon();
  await until("it is away", () => /there is no such socket|nobody listens/.test(daemon.results().trouble ?? ""));
  bench.certificates.issueAgent({ validSeconds: -10 });
  await until("its own certificate keeps it away", () =>
    /the agent's certificate .* has ended; renew it$/.test(daemon.results().trouble ?? ""),
  );
  bench.certificates.issueAgent();
  await until("it is the daemon again", () =>
    /there is no such socket|nobody listens/.test(daemon.results().trouble ?? ""),
  );
});

test("PlanServer says that its certificate has ended", async () => {
  await using bench = new RemoteBench();
  bench.certificates.issueDaemon({ validSeconds: -10 });
  await bench.serve();
  await until("it is told", () =>
    bench.troubles.some((line) => /daemon.*tls\.crt has ended at .*; renew it: no agent comes in/.test(line)),
  );
  const connecting = bench.connect();
  await until("the agent says so too", () =>
    bench.notices.some((notice) => /the daemon's certificate has ended; renew it/.test(notice)),
  );
  bench.certificates.issueDaemon();
  assert.ok((await connecting).isConnected);
});

test("RemoteDaemon says whose certificate does not hold yet, its own or the daemon's", async () => {
  await using bench = new RemoteBench();
  const from = new Date(Date.now() + 86_400_000);
  bench.certificates.issueDaemon({ from });
  bench.certificates.issueAgent({ from });
  await bench.serve();
  const connecting = bench.connect();
  const says = (saying: RegExp) => until(String(saying), () => bench.notices.some((notice) => saying.test(notice)));
  await says(/the agent's certificate .* does not hold yet; look at the clock/);
  bench.certificates.issueAgent();
  await says(/the daemon's certificate does not hold yet; look at the clock/);
  bench.certificates.issueDaemon();
  assert.ok((await connecting).isConnected);
});
