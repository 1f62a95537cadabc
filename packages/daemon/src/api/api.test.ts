import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { KernelError } from "@bpfleet/base";
import type { InstanceCounters } from "@bpfleet/features";
import type { Inventory, ObservedKernel, RuleRef } from "@bpfleet/kernel";
import { interfaceFacts, nodeFacts, wholeKernel } from "@bpfleet/kernel/testing";
import type { HookCounters } from "../counters.ts";
import type { DaemonResults, Explanation, TraceEvent, TraceOptions } from "../daemon.ts";
import { until } from "../testing/until.ts";
import { ApiServer } from "./api-server.ts";
import { DaemonClient } from "./daemon-client.ts";
import type { ServedDaemon } from "./daemon-routes.ts";

const owner = { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name: "xdp-packet-filter" };
const rule: RuleRef = {
  index: 3,
  id: "18446744073709551615",
  text: "10.10.10.0/24",
  origin: { object: owner, path: "/spec", position: { file: "a.yaml", line: 3, column: 5 } },
};
const unplaced: RuleRef = { ...rule, origin: { object: owner, path: "", position: undefined } };
const decision = {
  owner,
  verdict: "drop",
  reason: "blacklist",
  rule,
  text: "dropped: 10.10.10.7 is in 10.10.10.0/24",
} as const;
const definition = { type: "hash", keySize: 4, valueSize: 8, maxEntries: 10, flags: 1 } as const;

const facts = nodeFacts({
  nodeName: "n1",
  objects: { filter: { digest: "ab" } },
  hashSeed: 0xffffffff,
  pinRoot: "/run/bpfd/fs",
  labels: { "deploy-ebpf": "true" },
  bytecode: {
    "file:///a.o": { state: "failed", reason: "NotAnObject", message: "it is text" },
    "file:///b.o": {
      state: "ready",
      objectDigest: "ab",
      signature: "unsigned",
      labels: {},
      programs: [{ entry: "pass", section: "xdp/pass", type: "xdp", instructions: 2 }],
      maps: [],
      globals: [{ name: "g", section: ".rodata", sizeBytes: 1, type: "bool", shape: { is: "bool" } }],
      license: "GPL",
    },
  },
  cgroups: { "/pod": "123456789012345" },
  bpffs: ["/run/bpfd/fs"],
  interfaces: [interfaceFacts("eth0", { ifindex: 7, addresses: ["10.0.0.1/24"], hasDefaultRoute: true })],
  kernel: { ...wholeKernel, tcx: { has: false, why: "too old" } },
});
const hookResult = { mode: "native", chain: "chain", memberModes: ["inline", "stub"], reason: undefined } as const;
const results: DaemonResults = {
  revision: 3,
  isComplete: true,
  isSettled: false,
  isPaused: false,
  applyMs: 12.5,
  trouble: undefined,
  items: [
    { item: "map", key: "m", state: "in-force", error: undefined, hook: undefined },
    {
      item: "program",
      key: "p",
      state: "failed",
      error: { code: "verifier", message: "load p: refused", detail: "log\n", retry: "never" },
      hook: undefined,
    },
    {
      item: "hook",
      key: "xdp/eth0",
      state: "withheld",
      error: { code: "verifier", message: "waits", detail: undefined, retry: undefined },
      hook: hookResult,
    },
  ],
  healed: [{ at: 1_700_000_000_000.5, item: "hook", key: "xdp/eth0", what: "its link was removed" }],
};
const counters: InstanceCounters[] = [
  {
    owner,
    labels: { pod_namespace: "default", pod: "web", direction: "egress" },
    reasons: { blacklist: { packets: 2n ** 64n - 1n, bytes: 0n } },
    rules: [
      { rule, counter: { packets: 1n, bytes: 2n } },
      { rule: unplaced, counter: { packets: 0n, bytes: 0n } },
    ],
    gauges: { whole: 2n ** 63n, number: 1.5 },
  },
];
const hooks: HookCounters[] = [
  {
    hook: "xdp/eth0",
    members: [
      { program: "p", counts: { seen: 5n, proceeded: 2n, exits: 3n, verdicts: { XDP_DROP: 3n, XDP_PASS: 2n } } },
    ],
  },
];
const observed: ObservedKernel = {
  maps: [
    {
      key: "m",
      generation: "g",
      mapId: 5,
      definition,
      pinPaths: ["/run/bpfd/fs/x"],
      entries: { count: 1, keys: Uint8Array.of(1), values: Uint8Array.of(2) },
    },
    { key: "m2", generation: "g", mapId: 6, definition, pinPaths: [], entries: undefined },
  ],
  programs: [{ key: "p", generation: "g", programId: 8, type: "xdp", mapIds: [5, 6] }],
  hooks: [
    {
      key: "xdp/eth0",
      point: { hook: "xdp", interface: "eth0" },
      generation: "g",
      members: [8],
      isAttached: true,
      linkId: 9,
      programId: 8,
      result: hookResult,
    },
  ],
};
const inventory: Inventory = {
  programs: [
    {
      id: 1,
      type: "xdp",
      name: "n",
      tag: "t",
      loadedAt: "2026-01-01T00:00:00.000Z",
      uid: 0,
      mapIds: [1],
      runCount: 2n ** 40n,
      runTimeNs: 3n,
      verifiedInsns: 4,
      jitedBytes: 5,
      ours: "p",
    },
  ],
  maps: [
    {
      id: 2,
      type: "struct_ops",
      name: "foreign",
      definition: { keySize: 4, valueSize: 8, maxEntries: 1, flags: 0 },
      ours: undefined,
    },
  ],
  links: [{ id: 3, type: "xdp", programId: 1, target: "eth0", ours: undefined }],
};
const explanation: Explanation = {
  hook: "xdp/eth0",
  verdict: -1,
  verdictName: "TC_ACT_UNSPEC",
  passes: true,
  steps: [
    { program: "p", owner, verdict: 2, verdictName: "XDP_PASS", decision, proceeds: true },
    { program: "q", owner: undefined, verdict: -1, verdictName: "TC_ACT_UNSPEC", decision: undefined, proceeds: false },
  ],
};
const event: TraceEvent = {
  at: 1.25,
  program: "p",
  ifindex: 7,
  interface: "eth0",
  decision,
  lengthBytes: 60,
  head: Uint8Array.of(1, 2),
  layer: "network",
};

class ServedValues implements ServedDaemon {
  asked: unknown[] = [];
  traces = new Map<TraceOptions, (events: readonly TraceEvent[]) => void>();
  failure: Error | undefined;
  facts() {
    return facts;
  }
  onFacts() {
    return () => {};
  }
  results() {
    return results;
  }
  onChange() {
    return () => {};
  }
  async settled() {
    return results;
  }
  async counters() {
    return counters;
  }
  async hookCounters() {
    return hooks;
  }
  async pause() {
    this.asked.push("pause");
  }
  async resume() {
    this.asked.push("resume");
  }
  async explain(request: unknown) {
    this.asked.push(request);
    if (this.failure) throw this.failure;
    return explanation;
  }
  async observe(keys: readonly string[]) {
    this.asked.push(keys);
    return observed;
  }
  async inventory() {
    return inventory;
  }
  recentLog() {
    return ["a", "b", "c"];
  }
  onLog(callback: (lines: readonly string[]) => void) {
    callback(["d"]);
    return () => {};
  }
  version() {
    return { version: "0.1.0", kernel: "6.18", node: "v24", libbpf: "1.7" };
  }
  async trace(options: TraceOptions, onEvents: (events: readonly TraceEvent[]) => void): Promise<AsyncDisposable> {
    this.traces.set(options, onEvents);
    return { [Symbol.asyncDispose]: async () => void this.traces.delete(options) };
  }
}

async function serve(
  t: TestContext,
): Promise<{ daemon: ServedValues; client: DaemonClient; socket: string; server: ApiServer }> {
  const directory = mkdtempSync(join(tmpdir(), "bpfleet-api-"));
  const socket = join(directory, "deep/er.sock");
  const daemon = new ServedValues();
  const server = await ApiServer.listen(socket, daemon);
  const client = new DaemonClient(socket);
  t.after(async () => {
    client[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });
  return { daemon, client, socket, server };
}

test("DaemonClient gets every value as the daemon has it", async (t) => {
  const { daemon, client } = await serve(t);
  assert.deepEqual(await client.state({ withCounters: true }), { facts, results, counters, hooks });
  assert.deepEqual(await client.state({ withCounters: false }), { facts, results, counters: [], hooks: [] });
  assert.deepEqual(await client.observe(["m"]), observed);
  assert.deepEqual(await client.inventory(), inventory);
  assert.deepEqual(await client.explain({ hook: "xdp/eth0", packet: Uint8Array.of(1, 2, 3) }), explanation);
  assert.deepEqual(await client.version(), daemon.version());
  await client.pause();
  await client.resume();
  assert.deepEqual(daemon.asked, [["m"], { hook: "xdp/eth0", packet: Uint8Array.of(1, 2, 3) }, "pause", "resume"]);
});

test("DaemonClient throws the daemon's KernelError, of a long log the end", async (t) => {
  const { daemon, client } = await serve(t);
  daemon.failure = new KernelError("load p: the verifier refused it", {
    code: "verifier",
    call: "BPF_PROG_LOAD",
    errno: "EACCES",
    retry: "never",
    detail: `${"x".repeat(100_000)}the end`,
  });
  await assert.rejects(client.explain({ hook: "h", packet: new Uint8Array() }), (error) => {
    assert.ok(error instanceof KernelError);
    const { message, code, call, errno, retry } = error;
    assert.deepEqual(
      [message, code, call, errno, retry],
      [daemon.failure?.message, "verifier", "BPF_PROG_LOAD", "EACCES", "never"],
    );
    assert.ok(error.detail?.endsWith("xxthe end"));
    return true;
  });
});

test("DaemonClient says what to do when nobody answers", async (t) => {
  const { client, socket, server } = await serve(t);
  await client.version();
  await server[Symbol.asyncDispose]();
  const isUnreachable = (errno: string) => (error: unknown) =>
    error instanceof KernelError &&
    error.code === "unreachable" &&
    error.message.endsWith(`(${errno}); start it with \`ebpfctl up\``);
  using later = new DaemonClient(socket);
  await assert.rejects(later.version(), isUnreachable("ENOENT"));
  const stale = createServer().listen(socket);
  await new Promise((resolve) => stale.on("listening", resolve));
  chmodSync(socket, 0o600);
  await new Promise((resolve) => stale.close(resolve));
  writeFileSync(socket, "");
  using refused = new DaemonClient(socket);
  await assert.rejects(refused.version(), isUnreachable("ECONNREFUSED"));
});

test("ApiServer refuses a request whose authority is none, and goes on", async (t) => {
  const { client, socket, daemon } = await serve(t);
  const session = connectHttp2("http://localhost", { createConnection: () => connect(socket) });
  t.after(() => session.destroy());
  const path = "/bpfleet.daemon.v1.DaemonService/GetVersion";
  const stream = session.request({ ":method": "POST", ":path": path, ":authority": "[" });
  const [headers] = (await once(stream.end(), "response")) as [IncomingHttpHeaders];
  assert.equal(headers[":status"], 400);
  assert.deepEqual(await client.version(), daemon.version());
});

test("DaemonClient traces until its signal, and the daemon then stops sampling", async (t) => {
  const { daemon, client } = await serve(t);
  const abort = new AbortController();
  const seen: TraceEvent[] = [];
  const reading = (async () => {
    for await (const events of client.trace({ every: 5, only: "drop", owner }, abort.signal)) seen.push(...events);
  })();
  await until("it is traced", () => daemon.traces.size === 1);
  const [options, tell] = [...daemon.traces][0]!;
  assert.deepEqual(options, { every: 5, only: "drop", owner });
  tell([event, event]);
  tell([{ ...event, opensFlow: true, missed: 2.5 }]);
  await until("all came", () => seen.length === 3);
  assert.deepEqual(seen, [event, event, { ...event, opensFlow: true, missed: 2.5 }]);
  abort.abort();
  await reading;
  await until("nobody traces", () => daemon.traces.size === 0);
});

test("DaemonClient hears how many events were left out when too many batches wait for it", async (t) => {
  const { daemon, client } = await serve(t);
  const abort = new AbortController();
  const seen: TraceEvent[] = [];
  const reading = (async () => {
    for await (const events of client.trace({ every: 1, only: "flow" }, abort.signal)) seen.push(...events);
  })();
  await until("it is traced", () => daemon.traces.size === 1);
  const [options, tell] = [...daemon.traces][0]!;
  assert.equal(options.only, "flow");
  for (let batch = 0; batch < 150; batch++) tell([event, { ...event, missed: batch === 0 ? 1 : 0 }]);
  await until("all are told of", () => seen.reduce((all, { missed = 0 }) => all + missed, seen.length) === 301);
  assert.ok(seen.length < 300);
  abort.abort();
  await reading;
});

test("DaemonClient reads the last lines of the log, and those that come", async (t) => {
  const { client } = await serve(t);
  const read = async (options: { readonly tail: number; readonly follow: boolean }): Promise<string> => {
    const abort = new AbortController();
    const seen: string[] = [];
    for await (const lines of client.log(options, abort.signal)) {
      seen.push(...lines);
      if (seen.includes("d")) abort.abort();
    }
    return seen.join("");
  };
  assert.equal(await read({ tail: 2, follow: false }), "bc");
  assert.equal(await read({ tail: 1, follow: true }), "cd");
});

test("DaemonClient hears of a daemon that goes away under a trace", async (t) => {
  const { daemon, client, server } = await serve(t);
  const reading = (async () => {
    for await (const _ of client.trace({ every: 1, only: "all" }, new AbortController().signal));
  })();
  await until("it is traced", () => daemon.traces.size === 1);
  const rejected = assert.rejects(reading, (error) => error instanceof KernelError);
  await server[Symbol.asyncDispose]();
  await rejected;
});

test("ApiServer binds a socket for its owner alone, takes over a dead one and leaves a live one", async (t) => {
  const { daemon, socket } = await serve(t);
  assert.equal(statSync(socket).mode & 0o777, 0o600);
  await assert.rejects(
    ApiServer.listen(socket, daemon),
    (error) =>
      error instanceof KernelError && error.code === "busy" && /another process answers there/.test(error.message),
  );
  const dead = `${socket}2`;
  writeFileSync(dead, "");
  const server = await ApiServer.listen(dead, daemon);
  using client = new DaemonClient(dead);
  assert.equal((await client.version()).version, "0.1.0");
  await server[Symbol.asyncDispose]();
});

test("ApiServer outlives garbage, callers that hang up and requests that are too large", async (t) => {
  const { client, socket } = await serve(t);
  const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  const garbage = ["", "GET / HTTP/1.1\r\n\r\n", "\0".repeat(100), preface, `${preface}${"\xff".repeat(1000)}`];
  for (const bytes of garbage) {
    const connection = connect(socket);
    connection.on("error", () => {});
    connection.write(bytes, "latin1");
    await new Promise((resolve) => setTimeout(resolve, 20));
    connection.destroy();
  }
  await assert.rejects(client.explain({ hook: "h", packet: new Uint8Array(2 << 20) }), KernelError);
  assert.equal((await client.version()).version, "0.1.0");
});
