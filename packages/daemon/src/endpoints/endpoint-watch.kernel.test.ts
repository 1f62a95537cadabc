import assert from "node:assert/strict";
import { mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { EndpointFacts, EndpointWish } from "@bpfleet/kernel";
import { InnerProcess, KernelSandbox } from "@bpfleet/native/testing";
import { LineProcess } from "../testing/line-process.ts";
import { someLink } from "../testing/some-link.ts";
import { EndpointWatch, type Endpoints } from "./endpoint-watch.ts";
import { NamespaceQuery } from "./namespace-query.ts";

const script = new URL("./testdata/watch-endpoints.ts", import.meta.url).pathname;
/** From what happens to the facts; measured: about 50. */
const followsWithinMs = 1000;

interface Line {
  readonly is?: "ready";
  readonly ms?: number;
  readonly endpoints?: Readonly<Record<string, EndpointFacts>>;
}

/** EndpointWatch in a process whose network namespace is the node's. */
class Watcher implements AsyncDisposable {
  readonly #process: LineProcess;
  endpoints: NonNullable<Line["endpoints"]> = {};
  #waiting: (() => void)[] = [];
  #lookedFor = Promise.withResolvers<number>();

  private constructor(process: LineProcess) {
    this.#process = process;
  }

  static async start(netns: string, limits: readonly string[] = []): Promise<Watcher> {
    const watcher = new Watcher(new LineProcess(netns, script, [], limits));
    assert.ok(await watcher.#process.read(), "it starts");
    void watcher.#read();
    return watcher;
  }

  async #read(): Promise<void> {
    for (let text = await this.#process.read(); text !== undefined; text = await this.#process.read()) {
      const { endpoints, ms } = JSON.parse(text) as Line;
      if (endpoints !== undefined) this.endpoints = endpoints;
      if (ms !== undefined) this.#lookedFor.resolve(ms);
      for (const wake of this.#waiting.splice(0)) wake();
    }
  }

  /** Resolves when all were looked for once, with the milliseconds that it took. */
  async watch(...wishes: readonly EndpointWish[]): Promise<number> {
    this.#lookedFor = Promise.withResolvers<number>();
    this.#process.write(JSON.stringify(wishes));
    return this.#lookedFor.promise;
  }

  async until(what: string, holds: (endpoints: Watcher["endpoints"]) => boolean): Promise<void> {
    for (const end = performance.now() + followsWithinMs; !holds(this.endpoints);) {
      const leftMs = end - performance.now();
      if (leftMs <= 0) assert.fail(`${what}: ${JSON.stringify(this.endpoints)}\n${this.#process.log}`);
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        setTimeout(resolve, leftMs);
      });
    }
  }

  why(key: string): string {
    const facts = this.endpoints[key];
    return facts === undefined
      ? "nothing"
      : facts.found
        ? "found"
        : `${facts.isFinal ? "final" : "waits"}: ${facts.why}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

let sandbox: KernelSandbox;
let node: string;
let watcher: Watcher;
beforeEach(async () => {
  sandbox = new KernelSandbox();
  node = sandbox.netns().name;
  watcher = await Watcher.start(node);
});
afterEach(async () => {
  await watcher[Symbol.asyncDispose]();
  await sandbox[Symbol.asyncDispose]();
});

const ip = (...args: string[]): string => sandbox.ip(node, ...args);
/** The usual thing: a veth pair with one end in the pod. */
function plug(pod: string, host: string, inside = "eth0"): void {
  ip("link", "add", host, "type", "veth", "peer", "name", inside, "netns", pod);
}

test("EndpointWatch finds a namespace by its name, with addresses, and follows what changes in it", async () => {
  const pod = sandbox.netns().name;
  await watcher.watch({ key: "web", netns: pod });
  assert.match(watcher.why("web"), /^waits: network namespace .* has no interface but its loopback yet/);
  plug(pod, "h0");
  await watcher.until("found", ({ web }) => web?.found === true && web.interface === "h0");
  sandbox.ip(pod, "address", "add", "10.4.0.9/24", "dev", "eth0");
  await watcher.until("its address", ({ web }) => web?.found === true && web.addresses.join() === "10.4.0.9/24");
  sandbox.ip(pod, "address", "add", "fd00::9/64", "dev", "eth0", "nodad");
  await watcher.until("the other", ({ web }) => web?.found === true && web.addresses.includes("fd00::9/64"));
  ip("link", "delete", "h0");
  await watcher.until("gone", ({ web }) => web?.found === false && !web.isFinal);
  plug(pod, "h1");
  const ifindex = sandbox.ifindex(node, "h1");
  await watcher.until("made anew", ({ web }) => web?.found === true && web.ifindex === ifindex);
  ip("link", "set", "h1", "name", "renamed");
  await watcher.until("renamed", ({ web }) => web?.found === true && web.interface === "renamed");
});

test("EndpointWatch finds a namespace that is made after it was asked for, and one in a bridge", async () => {
  const { name } = sandbox.netns();
  sandbox.removeNetns(name);
  await watcher.watch({ key: "late", netns: name });
  assert.match(watcher.why("late"), /^waits: there is no network namespace .* yet \(no \/run\/netns\//);
  sandbox.addNetns(name);
  plug(name, "h0");
  ip("link", "add", "br0", "type", "bridge");
  ip("link", "set", "h0", "master", "br0");
  await watcher.until("found", ({ late }) => late?.found === true && late.interface === "h0");
});

test("EndpointWatch follows an interface that is made here and moved later", async () => {
  const [a, b] = [sandbox.netns().name, sandbox.netns().name];
  ip("link", "add", "h0", "type", "veth", "peer", "name", "eth0");
  await watcher.watch({ key: "a", netns: a }, { key: "b", netns: b });
  ip("link", "set", "eth0", "netns", a);
  await watcher.until("found", ({ a: found }) => found?.found === true);
  sandbox.ip(a, "link", "set", "eth0", "netns", b);
  await watcher.until("moved", ({ a: from, b: to }) => from?.found === false && to?.found === true);
});

test("EndpointWatch finds a pod by a process in a cgroup below its own, of the version that has it", async () => {
  const pod = sandbox.netns().name;
  plug(pod, "h0");
  await using inner = await InnerProcess.start({ netns: pod });
  for (const root of sandbox.cgroupRoots()) {
    const folder = join(root, `${pod}-cgroup`);
    const below = join(folder, "container");
    const cgroup = `/${basename(folder)}`;
    const key = root;
    await watcher.watch({ key, cgroups: ["/not-there", cgroup] });
    assert.match(watcher.why(key), /^waits: there is no process in any of its cgroups \(\/not-there, /);
    mkdirSync(below, { recursive: true });
    try {
      writeFileSync(join(below, "cgroup.procs"), `${inner.pid}`);
      await watcher.until("found", ({ [key]: found }) => found?.found === true && found.interface === "h0");
    } finally {
      writeFileSync(join(root, "cgroup.procs"), `${inner.pid}`);
      rmdirSync(below);
      rmdirSync(folder);
    }
  }
});

test("EndpointWatch says that a namespace is the node's own, and what macvlan and ipvlan are", async () => {
  const pods = ["macvlan", "ipvlan"].map((kind) => ({ kind, pod: sandbox.netns().name }));
  ip("link", "add", "up0", "type", "veth", "peer", "name", "up1");
  const made = pods.filter(({ kind, pod }) => {
    try {
      ip("link", "add", "link", "up0", "name", `${kind}0`, "netns", pod, "type", kind);
      sandbox.ip(pod, "link", "set", `${kind}0`, "up");
      return true;
    } catch (error) {
      // A kernel without that kind.
      assert.match(String(error), /Unknown device type|not supported/);
      return false;
    }
  });
  await watcher.watch({ key: "own", netns: node }, ...made.map(({ kind, pod }) => ({ key: kind, netns: pod })));
  assert.match(watcher.why("own"), /^final: network namespace .* is the node's own \(host network\)/);
  for (const { kind } of made) assert.match(watcher.why(kind), new RegExp(`^final: ${kind}0 in .* of kind ${kind}: `));
});

test("EndpointWatch judges the interface with the default route where a pod has several", async () => {
  const pod = sandbox.netns().name;
  for (const [host, inside] of [
    ["h0", "eth0"],
    ["h1", "net1"],
  ] as const) {
    plug(pod, host, inside);
    ip("link", "set", host, "up");
    sandbox.ip(pod, "link", "set", inside, "up");
  }
  sandbox.ip(pod, "route", "add", "default", "dev", "net1");
  await using inner = await InnerProcess.start({ netns: pod });
  const cgroup = sandbox.cgroup();
  assert.ok(cgroup);
  inner.enter(cgroup);
  await watcher.watch({ key: "name", netns: pod }, { key: "process", cgroups: [`/${basename(cgroup)}`] });
  for (const key of ["name", "process"]) {
    const facts = watcher.endpoints[key];
    assert.ok(facts?.found, watcher.why(key));
    assert.equal(facts.interface, "h1");
    assert.match(
      facts.note ?? "",
      /^net1 in (the )?network namespace .* is judged; what passes eth0 \(veth\) beside it is not$/,
    );
  }
  await inner[Symbol.asyncDispose]();
});

test("EndpointWatch finds 110 endpoints within a second", async () => {
  const pods = Array.from({ length: 110 }, (_, at) => ({ pod: sandbox.netns().name, host: `h${at}` }));
  for (const { pod, host } of pods) plug(pod, host);
  const ms = await watcher.watch(...pods.map(({ pod }) => ({ key: pod, netns: pod })));
  await watcher.until("all found", (endpoints) => pods.every(({ pod }) => endpoints[pod]?.found === true));
  assert.ok(ms < 1000, `${ms} ms`);
});

test("EndpointWatch finds pods of root as another user, with the capabilities that the daemon has in a cluster", async () => {
  const held = ["sys_admin", "net_admin", "bpf", "perfmon"].map((each) => `+${each}`).join();
  const user = ["--reuid=65532", "--regid=65532", "--clear-groups"];
  const sets = ["--inh-caps", "--ambient-caps", "--bounding-set"].map((set) => `${set}=-all,${held}`);
  const pod = sandbox.netns().name;
  plug(pod, "h0");
  plug(pod, "h1", "net1");
  await using inner = await InnerProcess.start({ netns: pod });
  const cgroup = sandbox.cgroup();
  assert.ok(cgroup);
  inner.enter(cgroup);
  await using limited = await Watcher.start(node, ["setpriv", ...user, ...sets]);
  await limited.watch({ key: "name", netns: pod }, { key: "process", cgroups: [`/${basename(cgroup)}`] });
  for (const key of ["name", "process"]) assert.equal(limited.why(key), "found");
  ip("link", "delete", "h0");
  await limited.until("the other", ({ process: found }) => found?.found === true && found.interface === "h1");
  await inner[Symbol.asyncDispose]();
});

test("EndpointWatch looks together at endpoints that are due one after the other", async () => {
  const count = 60;
  const seen = { lists: 0, looks: 0 };
  const pod = sandbox.netns().name;
  const { promise: rounds, resolve } = Promise.withResolvers<void>();
  await using watch = new EndpointWatch({
    slowMs: 2000,
    query: Object.assign(new NamespaceQuery(), {
      idOf: async () => {
        await sleep(2);
        seen.looks++;
        return 5;
      },
      links: async (id?: number) => {
        if (id !== undefined) return [{ ...someLink, ifindex: 3, peerIfindex: 40 }];
        seen.lists++;
        return [{ ...someLink, name: "h0", ifindex: 40, peerIfindex: 3, peerNetnsId: 5 }];
      },
      addresses: async () => [],
    }),
    onChange: () => resolve(),
    onTrouble: (error) => assert.fail(String(error)),
  });
  await watch.watch(Array.from({ length: count }, (_, at) => ({ key: `k${at}`, netns: pod })));
  await rounds;
  // While they are new they are looked at again and again.
  await sleep(1500);
  Object.assign(seen, { lists: 0, looks: 0 });
  while (seen.looks < 2 * count) await sleep(100);
  assert.ok(seen.lists <= count / 3, `${seen.lists} lists of all interfaces for ${seen.looks} looks`);
});

test("EndpointWatch looks again by itself after a look that failed as a whole", async () => {
  const query = new NamespaceQuery();
  let failures = 1;
  const links: typeof query.links = (id) =>
    failures-- > 0 ? Promise.reject(new Error("no list")) : NamespaceQuery.prototype.links.call(query, id);
  const troubles: unknown[] = [];
  const { promise: told, resolve } = Promise.withResolvers<Endpoints>();
  await using watch = new EndpointWatch({
    query: Object.assign(query, { links }),
    onChange: resolve,
    onTrouble: (error) => void troubles.push(error),
  });
  await watch.watch([{ key: "a", netns: `bpft-none-${process.pid}` }]);
  assert.deepEqual(troubles, [new Error("no list")]);
  assert.equal((await told)["a"]?.found, false);
});
