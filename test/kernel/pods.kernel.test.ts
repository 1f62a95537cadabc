import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, describe, it } from "node:test";
import { closeTcp, connectTcp, listenTcp, listenUdp, openFile, sendUdp } from "@bpfleet/native/testing";
import { StandaloneNode } from "./standalone-node.ts";

const kinds = join(import.meta.dirname, "../../packages/kinds/src");
const sample = (name: string): string => join(kinds, "networking.fos1.io/ebpfprogram/samples", `${name}.yaml`);
const webPod = readFileSync(join(kinds, "core/pod/samples/web.yaml"), "utf8");

const metadataServer = "169.254.169.254";

interface Counted {
  readonly packets: number;
  readonly bytes: number;
}

interface Status {
  readonly state?: string;
  readonly reason?: string;
  readonly attachedTo?: string;
  readonly mode?: string;
  readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string }[];
  readonly metrics?: {
    readonly packetsDropped: number;
    readonly rules: readonly { readonly rule: string; readonly packets: number }[];
    readonly pods?: readonly {
      readonly pod: string;
      readonly received?: Counted;
      readonly sent?: Counted;
      readonly dropped?: Counted;
      readonly gauges: Readonly<Record<string, number>>;
    }[];
  };
}

const isActiveOn =
  (places: string) =>
  ({ state, attachedTo }: Status): boolean =>
    state === "Active" && attachedTo === places;

describe("pods of a standalone node", async () => {
  const node = await StandaloneNode.make();
  if (node === undefined) return it("run what is declared for them", { skip: "no cgroup v2" });
  after(() => node[Symbol.asyncDispose]());
  const kernelLog = join(tmpdir(), `${node.slice}-kmsg`);
  execFileSync("mknod", [kernelLog, "c", "1", "11"]);
  after(() => rmSync(kernelLog));
  await node.up();
  node.addAddress(`${metadataServer}/32`, "10.50.0.1/32", "10.99.0.1/32", "fd50::1/128", "fd99::1/128");

  /** The sample, as another pod when it is given another name. */
  const pod = (name: string): string =>
    webPod
      .replace("bpfleet.io/cgroup: bpfleet/web", `bpfleet.io/cgroup: ${node.slice}/${name}`)
      .replace("name: web", `name: ${name}`);

  it("wait for pods, then for their cgroups, and say so", async () => {
    assert.equal(
      await node.do("apply", "-f", sample("pod-accounting"), "-f", sample("socket-monitoring")),
      "ebpfprogram.networking.fos1.io/pod-accounting created\nebpfprogram.networking.fos1.io/socket-monitoring created\n",
    );
    const without = await node.status<Status>("pod-accounting", ({ state }) => state === "Pending");
    assert.match(without.reason ?? "", /^no pod of namespace default has a cgroup; it runs as soon as there is one$/);
    assert.equal(await node.apply(pod("web")), "pod/web created\n");
    const waiting = await node.status<Status>("pod-accounting", ({ reason = "" }) => reason.includes("cgroup"));
    assert.equal(waiting.state, "Pending");
    const found = await node.status<Status>("socket-monitoring", ({ conditions = [] }) =>
      conditions.some(({ reason }) => reason === "CgroupNotFound"),
    );
    assert.match(found.reason ?? "", new RegExp(`^pod default/web: cgroup ${node.slice}/web does not exist`));
    node.makeCgroup("web");
    const active = await node.status("pod-accounting", isActiveOn("pod/web"));
    assert.equal(active.mode, "cgroup");
    await node.status("socket-monitoring", isActiveOn("pod/web"));
  });

  it("are counted, controlled and given their devices, each for itself", async () => {
    node.makeCgroup("db");
    await node.apply(pod("db"));
    for (const name of ["pod-accounting", "socket-monitoring"]) await node.status(name, isActiveOn("pod/db, pod/web"));
    const [web, db] = [await node.process("web"), await node.process("db")];
    const port = await listenUdp(db, "10.50.0.1");
    assert.deepEqual(await sendUdp(web, { address: "10.50.0.1", port }, 50, 172), { sent: 50, refused: {} });
    assert.deepEqual(await sendUdp(web, { address: metadataServer, port }, 4, 72), { sent: 0, refused: { EPERM: 4 } });
    assert.equal(await openFile(web, "/dev/zero"), "");
    assert.equal(await openFile(web, kernelLog), "EPERM");
    assert.equal(await openFile(db, kernelLog), "EPERM");
    assert.equal(await openFile(db, kernelLog), "EPERM");

    const { metrics } = await node.status<Status>("pod-accounting", ({ metrics: seen }) => seen?.packetsDropped === 4);
    const [ofDb, ofWeb] = metrics?.pods ?? [];
    assert.deepEqual([ofDb?.pod, ofWeb?.pod], ["db", "web"]);
    assert.deepEqual(
      [ofWeb?.sent, ofWeb?.dropped],
      [
        { packets: 50, bytes: 50 * 200 },
        { packets: 4, bytes: 4 * 100 },
      ],
    );
    assert.deepEqual(
      [ofDb?.received, ofDb?.sent],
      [
        { packets: 50, bytes: 50 * 200 },
        { packets: 0, bytes: 0 },
      ],
    );
    assert.deepEqual([ofDb?.gauges["devices_refused"], ofWeb?.gauges["devices_refused"]], [2, 1]);
    const listed = metrics?.rules.find(({ rule }) => rule === metadataServer);
    assert.equal(listed?.packets, 4);
  });

  it("have their connections counted", async () => {
    const [web, db] = [await node.process("web"), await node.process("db")];
    const before = await node.status<Status>("socket-monitoring", ({ metrics }) => metrics?.pods?.length === 2);
    const port = await listenTcp(db, "fd50::1");
    assert.deepEqual(await connectTcp(web, { address: "fd50::1", port }, 5), []);
    await closeTcp(web, 2);
    const counted = await node.status<Status>("socket-monitoring", ({ metrics }) =>
      (metrics?.pods ?? []).every(({ gauges }) => gauges["connections_closed"] === 2),
    );
    const rows = (status: Status) =>
      (status.metrics?.pods ?? []).map(({ pod: name, gauges }) => [
        name,
        ...["opened", "accepted", "closed", "active"].map((what) => gauges[`connections_${what}`]),
      ]);
    assert.deepEqual(rows(before), [
      ["db", 0, 0, 0, 0],
      ["web", 0, 0, 0, 0],
    ]);
    assert.deepEqual(rows(counted), [
      ["db", 0, 5, 2, 3],
      ["web", 5, 0, 2, 3],
    ]);
  });

  it("stand in get, describe and the metrics", async () => {
    assert.match(await node.do("get", "ebpf"), /^pod-accounting +cgroup +Active /m);
    assert.match(await node.do("get", "pods"), new RegExp(`^web +web +${node.slice}/web `, "m"));
    const description = await node.do("describe", "ebpfprogram", "pod-accounting");
    assert.match(description, /^ {2}Attached To: +pod\/db, pod\/web$/m);
    assert.match(description, /Pod: +web$/m);
    const [answer] = (await once(get({ socketPath: node.metrics, path: "/metrics" }), "response")) as [IncomingMessage];
    const metrics = await text(answer);
    assert.match(
      metrics,
      /^bpfleet_packets_total\{kind="EBPFProgram",namespace="default",name="pod-accounting",pod_namespace="default",pod="web",direction="egress",reason="blacklist",verdict="drop"\} 4$/m,
    );
  });

  it("can be asked what would become of a packet", async () => {
    const hook = `cgroup-egress/${node.slice}/web`;
    const ask = (to: string) =>
      node.run(["explain", "--hook", hook, "--from", "10.50.0.1", "--to", to, "--proto", "udp", "--dport", "53"]);
    const dropped = await ask(metadataServer);
    assert.equal(dropped.exitCode, 3, dropped.err);
    assert.match(dropped.out, /pod-accounting/);
    assert.match(dropped.out, /destination 169\.254\.169\.254 is on the list/);
    const passed = await ask("10.50.0.1");
    assert.equal(passed.exitCode, 0, passed.err);
  });

  it("can be watched while packets of theirs are dropped", async () => {
    const web = await node.process("web");
    const traced = node.run(["trace", "ebpfprogram", "pod-accounting", "--drops", "--count", "2", "-o", "json"]);
    const over = new AbortController();
    void traced.then(() => over.abort());
    while (!over.signal.aborted) await sendUdp(web, { address: metadataServer, port: 9 }, 1);
    const { exitCode, out, err } = await traced;
    assert.equal(exitCode, 0, err);
    const [first = ""] = out.split("\n");
    assert.match(first, /"program":"filter\/default\/pod-accounting\/egress\/default\/web\/program"/);
    assert.match(first, /dropped: destination 169\.254\.169\.254 is on the list/);
  });

  it("come back after a pause", async () => {
    const web = await node.process("web");
    const to = { address: metadataServer, port: 9 };
    await node.do("pause");
    assert.deepEqual(await sendUdp(web, to, 1), { sent: 1, refused: {} });
    const paused = await node.status<Status>("pod-accounting", ({ conditions = [] }) =>
      conditions.some(({ reason }) => reason === "Paused"),
    );
    assert.equal(paused.attachedTo, undefined);
    await node.do("resume");
    await node.status("pod-accounting", isActiveOn("pod/db, pod/web"));
    assert.deepEqual(await sendUdp(web, to, 1), { sent: 0, refused: { EPERM: 1 } });
  });

  it("follow edits, and lose what is deleted", async () => {
    const web = await node.process("web");
    const port = await listenUdp(await node.process(), metadataServer);
    const open = readFileSync(sample("pod-accounting"), "utf8").replace(`"${metadataServer}"`, `"192.0.2.1"`);
    await node.apply(open);
    await node.do("apply", "-f", sample("pod-egress-limit"));
    await node.status("pod-egress-limit", isActiveOn("pod/db, pod/web"));
    await node.status<Status>("pod-accounting", ({ state }) => state === "Active");
    assert.deepEqual(await sendUdp(web, { address: metadataServer, port }, 3), { sent: 3, refused: {} });
    for (const address of ["10.99.0.1", "fd99::1"]) {
      assert.deepEqual(await sendUdp(web, { address, port }, 3), { sent: 0, refused: { EPERM: 3 } });
    }
    const { sent } = await sendUdp(web, { address: metadataServer, port }, 3000);
    assert.ok(sent >= 400 && sent < 2500, `${sent} of 3000 were sent`);
    await node.do("delete", "ebpfprogram", "pod-egress-limit");
    await node.do("apply", "-f", sample("pod-accounting"));
    await node.status<Status>("pod-accounting", ({ metrics }) => metrics?.packetsDropped !== undefined);
    const again = await sendUdp(web, { address: "10.99.0.1", port }, 3);
    assert.deepEqual(again, { sent: 3, refused: {} });
  });

  it("that are deleted are let go, the others stay", async () => {
    const [web, db] = [await node.process("web"), await node.process("db")];
    const to = { address: metadataServer, port: await listenUdp(await node.process(), metadataServer) };
    await node.do("delete", "pod", "db");
    await node.status("pod-accounting", isActiveOn("pod/web"));
    assert.deepEqual(await sendUdp(db, to, 1), { sent: 1, refused: {} });
    assert.deepEqual(await sendUdp(web, to, 1), { sent: 0, refused: { EPERM: 1 } });
  });

  it("whose cgroup goes wait for the next one by its name", async () => {
    await node.endAll();
    node.removeCgroup("web");
    await node.status<Status>(
      "pod-accounting",
      ({ state, conditions = [] }) =>
        state === "Pending" && conditions.some(({ reason }) => reason === "CgroupNotFound"),
    );
    node.makeCgroup("web");
    await node.status("pod-accounting", isActiveOn("pod/web"));
    const to = { address: metadataServer, port: 9 };
    assert.deepEqual(await sendUdp(await node.process("web"), to, 1), { sent: 0, refused: { EPERM: 1 } });
  });

  it("are not served what is not served yet, which the condition names", async () => {
    const yaml = readFileSync(sample("socket-monitoring"), "utf8");
    for (const field of ["enableRedirection", "enableTracing"]) {
      await node.apply(`${yaml}      ${field}: true\n`);
      const { reason, attachedTo }: Status = await node.status<Status>(
        "socket-monitoring",
        ({ state, conditions = [] }) =>
          state === "Failed" && conditions.some(({ type, status }) => type === "Accepted" && status === "False"),
      );
      assert.equal(reason, `spec.settings.socketOps.${field} is not served yet; set it to false`);
      assert.equal(attachedTo, "pod/web");
    }
    await node.apply(yaml);
    await node.status("socket-monitoring", isActiveOn("pod/web"));
  });

  it("of a node without cgroup v2 are refused clearly, and served when it is there", async () => {
    await node.stop();
    const mount = readFileSync("/proc/self/mounts", "utf8")
      .split("\n")
      .map((line) => line.split(" "))
      .find(([, , type]) => type === "cgroup2")?.[1];
    await node.up(`umount -l ${mount}`);
    const { reason, conditions = [] } = await node.status<Status>("pod-accounting", ({ state }) => state === "Failed");
    assert.match(
      reason ?? "",
      /^programs on pods need cgroup v2, which this node does not have: no cgroup v2 hierarchy is mounted; boot with /,
    );
    assert.equal(conditions.find(({ type }) => type === "Ready")?.reason, "CgroupV2Missing");
    await node.stop();
    await node.up();
    await node.status("pod-accounting", isActiveOn("pod/web"));
  });

  it("keep nothing when everything is deleted", async () => {
    await node.do("delete", "ebpfprogram", "--all");
    const web = await node.process("web");
    const to = { address: metadataServer, port: 9 };
    let last = await sendUdp(web, to, 1);
    for (let left = 100; left > 0 && last.sent === 0; left--) last = await sendUdp(web, to, 1);
    assert.deepEqual(last, { sent: 1, refused: {} });
    const links = JSON.parse(await node.do("link", "list", "--ours", "-o", "json")) as unknown[];
    assert.deepEqual(links, []);
  });
});
