import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { NetlinkSocket } from "@bpfleet/native";
import { KernelSandbox, until } from "@bpfleet/native/testing";
import { DumpCollector, encodeAttribute, encodeDumpRequest, encodeU32 } from "@bpfleet/netlink";
import { measureKernel } from "./kernel-offers.ts";
import { readMounts } from "./mounts.ts";
import { NodeFactsWatch } from "./node-facts.ts";
import { dumpTable } from "./netlink-dump.ts";

const watcher = new URL("./testdata/watch-interfaces.ts", import.meta.url).pathname;

interface IpLink {
  readonly ifindex: number;
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly mtu: number;
  readonly operstate: string;
  readonly address?: string;
  readonly altnames?: readonly string[];
  readonly master?: string;
  readonly qdisc?: string;
  readonly linkinfo?: { readonly info_kind?: string };
}

describe("dumpTable", () => {
  let sandbox: KernelSandbox;
  let netns: { readonly name: string; readonly path: string };
  before(() => {
    sandbox = new KernelSandbox();
    netns = sandbox.netns();
    for (const command of [
      "link add v0 type veth peer name v1",
      "link set v0 up",
      "link set v1 up",
      "link property add dev v0 altname the-other-name-of-v0",
      "address add 10.1.2.3/24 dev v0",
      "address add 2001:db8::1/64 dev v0 nodad",
      "address add 10.9.9.9 peer 10.9.9.8/32 dev v0",
      "link add br0 type bridge",
      "link set v1 master br0",
      "route add default via 10.1.2.1 metric 50",
      "route add 192.0.2.0/24 nexthop via 10.1.2.4 weight 2 nexthop via 10.1.2.5",
      "route add blackhole 198.51.100.0/24",
      "route add 203.0.113.0/24 via inet6 2001:db8::7 dev v0",
      "route add 2001:db8:5::/48 via 2001:db8::9",
      "neigh add 10.1.2.1 lladdr 02:00:00:00:00:09 dev v0",
      "route add 10.77.0.0/16 dev v0 table 100",
    ])
      sandbox.ip(netns.name, ...command.split(" "));
    const tc = (...args: string[]) => execFileSync("tc", ["-n", netns.name, ...args]);
    tc("qdisc", "add", "dev", "v1", "clsact");
    tc("qdisc", "add", "dev", "v0", "root", "handle", "1:", "htb");
    tc(
      "filter",
      "add",
      "dev",
      "v1",
      "ingress",
      "prio",
      "3",
      "protocol",
      "ip",
      "bpf",
      "da",
      "bytecode",
      "1,6 0 0 4294967295,",
    );
  });
  after(() => sandbox[Symbol.asyncDispose]());

  const ip = <T>(...args: string[]) => JSON.parse(sandbox.ip(netns.name, "-j", "-d", ...args)) as T[];

  it("lists the interfaces that ip lists", async () => {
    const links = (await dumpTable("link", { netns: netns.path })).map(({ link }) => link);
    const nameOf = new Map(links.map((link) => [link.ifindex, link.name]));
    const ours = links.map((link) => ({
      ifindex: link.ifindex,
      name: link.name,
      isUp: link.isUp,
      mtu: link.mtu,
      mac: link.mac,
      kind: link.kind,
      operState: link.operState,
      altNames: link.altNames,
      master: link.masterIfindex === undefined ? undefined : nameOf.get(link.masterIfindex),
      qdisc: link.qdisc,
    }));
    const theirs = ip<IpLink>("link").map((link) => ({
      ifindex: link.ifindex,
      name: link.ifname,
      isUp: link.flags.includes("UP"),
      mtu: link.mtu,
      mac: link.address,
      kind: link.linkinfo?.info_kind ?? "",
      operState: link.operstate.toLowerCase(),
      altNames: link.altnames ?? [],
      master: link.master,
      qdisc: link.qdisc,
    }));
    assert.deepEqual(ours, theirs);
    assert.ok(ours.length >= 4);
  });

  it("lists the addresses that ip lists", async () => {
    const ours = (await dumpTable("address", { netns: netns.path })).map(
      ({ address: each }) => `${each.ifindex} ${each.address}/${each.prefixLength} ${each.scope} ${each.peer ?? ""}`,
    );
    const theirs = ip<{
      ifindex: number;
      addr_info: { local: string; prefixlen: number; scope: string; address?: string }[];
    }>("address").flatMap(({ ifindex, addr_info }) =>
      addr_info.map((each) => `${ifindex} ${each.local}/${each.prefixlen} ${each.scope} ${each.address ?? ""}`),
    );
    assert.deepEqual(ours.toSorted(), theirs.toSorted());
  });

  it("lists the routes that ip lists, of all tables and of one", async () => {
    const links = new Map(
      (await dumpTable("link", { netns: netns.path })).map(({ link }) => [link.ifindex, link.name]),
    );
    const render = async (routeTable?: number) =>
      (await dumpTable("route", { netns: netns.path, routeTable }))
        .map(({ route }) => {
          const isHost = route.prefixLength === (route.family === 4 ? 32 : 128);
          const to = route.isDefault
            ? "default"
            : isHost
              ? route.destination
              : `${route.destination}/${route.prefixLength}`;
          const hops = route.hops.map(
            (hop) => `${hop.ifindex === undefined ? "" : links.get(hop.ifindex)} ${hop.gateway ?? ""} ${hop.weight}`,
          );
          return `${route.type} ${to} ${route.metric} ${hops.join()}`;
        })
        .toSorted();
    interface IpRoute {
      type?: string;
      dst: string;
      metric?: number;
      dev?: string;
      gateway?: string;
      via?: { host: string };
      nexthops?: (IpRoute & { weight: number })[];
    }
    const list = (family: string, table: string) =>
      ip<IpRoute>(family, "route", "show", "table", table).map((route) => {
        const hopOf = (hop: IpRoute, weight: number) => `${hop.dev} ${hop.gateway ?? hop.via?.host ?? ""} ${weight}`;
        const hops =
          route.nexthops?.map((hop) => hopOf(hop, hop.weight)) ?? (route.dev === undefined ? [] : [hopOf(route, 1)]);
        return `${route.type ?? "unicast"} ${route.dst} ${route.metric ?? 0} ${hops.join()}`;
      });
    assert.deepEqual(await render(), [...list("-4", "all"), ...list("-6", "all")].toSorted());
    assert.deepEqual(await render(100), list("-4", "100"));
    assert.ok((await render(254)).includes("unicast default 50 v0 10.1.2.1 1"));
  });

  it("lists neighbours, qdiscs and filters as ip and tc do", async () => {
    const neighbours = (await dumpTable("neighbour", { netns: netns.path })).map(({ neighbour }) => neighbour);
    const permanent = neighbours.find((each) => each.address === "10.1.2.1");
    assert.deepEqual([permanent?.mac, permanent?.states], ["02:00:00:00:00:09", ["permanent"]]);
    const kinds = (await dumpTable("qdisc", { netns: netns.path })).map(({ qdisc }) => qdisc.kind);
    const theirs = JSON.parse(execFileSync("tc", ["-n", netns.name, "-j", "qdisc", "show"], { encoding: "utf8" })) as {
      kind: string;
    }[];
    assert.deepEqual(kinds.toSorted(), theirs.map(({ kind }) => kind).toSorted());
    const filters = (
      await dumpTable("filter", { netns: netns.path, ifindex: sandbox.ifindex(netns.name, "v1"), parent: 0xfffffff2 })
    ).map(({ filter }) => filter);
    assert.deepEqual(
      filters
        .filter((each) => each.bpf)
        .map(({ kind, priority, protocol, bpf }) => ({ kind, priority, protocol, da: bpf?.isDirectAction })),
      [{ kind: "bpf", priority: 3, protocol: 0x800, da: true }],
    );
  });

  it("reads the kernel's own sentence when it refuses", async () => {
    const dump = encodeDumpRequest("route", { sequence: 5 });
    const withNonsense = new Uint8Array([...dump, ...encodeAttribute(3, encodeU32(1))]);
    new DataView(withNonsense.buffer).setUint32(0, withNonsense.length, true);
    await using socket = NetlinkSocket.open({ family: "route", netns: netns.path });
    await socket.send(withNonsense);
    const event = await socket.next();
    const progress = new DumpCollector(5).accept(event?.kind === "data" ? event.data : new Uint8Array());
    assert.deepEqual(progress, {
      state: "refused",
      refusal: { errno: 22, text: "Unsupported attribute in dump request", offset: undefined },
    });
  });
});

describe("InterfaceWatch", () => {
  it("tells of interfaces and default routes as they come, change, are renamed and go, in its own namespace", async (t) => {
    await using sandbox = new KernelSandbox();
    const { name } = sandbox.netns();
    const child = spawn("ip", ["netns", "exec", name, process.execPath, watcher], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    t.after(() => child.kill("SIGKILL"));
    const seen: string[] = [];
    let rest = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      seen.push(...lines);
    });
    const last = async (what: string) => {
      for (const end = Date.now() + 5000; Date.now() < end; await sleep(5)) if (seen.at(-1) === what) return;
      assert.equal(seen.at(-1), what);
    };
    await last("lo+");
    const steps: [string, string][] = [
      ["link add v0 type veth peer name v1", "lo+ v1- v0-"],
      ["link set v0 up", "lo+ v1- v0+"],
      ["link set v1 up", "lo+ v1+ v0+"],
      ["address add 10.0.0.1/24 dev v0", "lo+ v1+ v0+ 10.0.0.1/24"],
      ["route add default via 10.0.0.2", "lo+ v1+ v0+ 10.0.0.1/24 default"],
      ["route replace default dev v1", "lo+ v1+ default v0+ 10.0.0.1/24"],
      ["link set v1 down", "lo+ v1- v0+ 10.0.0.1/24"],
      ["link set v1 name w1", "lo+ w1- v0+ 10.0.0.1/24"],
      ["link add br0 type bridge", "lo+ w1- v0+ 10.0.0.1/24 br0-"],
      ["link set w1 master br0", "lo+ w1- v0+ 10.0.0.1/24 br0-"],
      ["link set w1 nomaster", "lo+ w1- v0+ 10.0.0.1/24 br0-"],
      ["link del v0", "lo+ br0-"],
    ];
    for (const [command, expected] of steps) {
      sandbox.ip(name, ...command.split(" "));
      await last(expected);
    }
  });

  it("loses no change in a storm that overruns its socket", async (t) => {
    await using sandbox = new KernelSandbox();
    const { name } = sandbox.netns();
    // Seconds of work after the first change: the socket fills meanwhile.
    const child = spawn("ip", ["netns", "exec", name, process.execPath, watcher, "2000"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    t.after(() => child.kill("SIGKILL"));
    let last = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (last = text.trimEnd().split("\n").at(-1) ?? last));
    await until("it watches", () => last !== "");
    // Netlink sockets of the namespace that joined groups, by inode.
    const listeners = () => {
      const table = execFileSync("ip", ["netns", "exec", name, "cat", "/proc/net/netlink"], { encoding: "utf8" });
      const rows = table
        .trim()
        .split("\n")
        .slice(1)
        .map((line) => line.trim().split(/ +/));
      return rows.filter(([, family, , groups]) => family === "0" && Number(`0x${groups}`) !== 0).map((row) => row[9]);
    };
    const before = listeners();
    assert.equal(before.length, 1);
    sandbox.ip(name, "link", "add", "b0", "type", "bridge");
    await sleep(100);
    const storm = Array.from({ length: 6000 }, (_, index) => `link set b0 mtu ${1280 + (index % 2)}`);
    execFileSync("ip", ["-n", name, "-batch", "-"], { input: [...storm, "link set b0 name b1"].join("\n") });
    await until("the last change is told", () => last === "lo+ b1-", 20_000);
    assert.notDeepEqual(listeners(), before, "the storm was too small to overrun the socket");
  });
});

describe("NodeFactsWatch", () => {
  it("tells of a cgroup that comes, is another one by the same name, and goes", async (t) => {
    await using sandbox = new KernelSandbox();
    const parent = sandbox.cgroup();
    if (parent === undefined) return t.skip("cgroup v2 is not mounted");
    const pod = join(parent, "pod");
    const told: string[] = [];
    await using facts = await NodeFactsWatch.start({
      nodeName: "n",
      objects: {},
      hashSeed: 1,
      pollMs: 20,
      onChange: (after, places) => void (places.has(pod) && told.push(after.cgroups[pod] ?? "gone")),
      onTrouble: (error) => t.diagnostic(String(error)),
    });
    facts.watchCgroups([parent, pod]);
    assert.deepEqual(facts.get().cgroups, { [parent]: `${statSync(parent).ino}` });
    using cleanup = new DisposableStack();
    cleanup.defer(() => rmdirSync(pod));
    mkdirSync(pod);
    await until("it is there", () => told.length === 1);
    const first = `${statSync(pod).ino}`;
    rmdirSync(pod);
    await until("it is gone", () => told.length === 2);
    mkdirSync(pod);
    await until("it is there again", () => told.length === 3);
    assert.deepEqual(told, [first, "gone", `${statSync(pod).ino}`]);
    assert.notEqual(told[2], first);
  });

  it("tells of a bpffs that is mounted", async () => {
    await using sandbox = new KernelSandbox();
    await using facts = await NodeFactsWatch.start({
      nodeName: "n",
      objects: {},
      hashSeed: 1,
      pollMs: 20,
      onChange: () => {},
      onTrouble: () => {},
    });
    const path = await sandbox.bpffs();
    await until("it is there", () => facts.get().bpffs.includes(path));
  });
});

describe("measureKernel", () => {
  it("finds on this kernel what the kernel itself shows, and leaves nothing behind", async () => {
    const facts = await measureKernel(readMounts());
    assert.equal(facts.release, readFileSync("/proc/sys/kernel/osrelease", "utf8").trim());
    for (const name of ["btf", "ringbuf", "chainInline", "chainStub"] as const)
      assert.deepEqual(facts[name], { has: true }, name);
  });

  it("says why where there is no cgroup v2", async () => {
    assert.deepEqual((await measureKernel([])).cgroup2, { has: false, why: "no cgroup v2 hierarchy is mounted" });
  });
});
