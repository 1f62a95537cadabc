import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test } from "node:test";
import * as make from "../filter/testing/packets.ts";
import { idOfPort } from "./services/digest-services.ts";
import type { ServiceTablePort } from "./services/service-table.ts";
import { LoadedPolicy } from "./testing/loaded-policy.ts";
import { smallTable } from "./testing/small-table.ts";
import { places, placesOf, ServiceRig, tcp, udp, type Family } from "./testing/service-rig.ts";

const families = Object.keys(places) as readonly Family[];

/** Port 80 of TCP and 53 of UDP of one Service in each family, both behind port 9. */
function servicesOf(
  backends: (family: Family) => readonly string[],
  more: Partial<ServiceTablePort> = {},
): readonly ServiceTablePort[] {
  return families.flatMap((family) =>
    (
      [
        [tcp, 80],
        [udp, 53],
      ] as const
    ).map(([protocol, port]) => ({
      id: idOfPort(["default", "web", `${port}`, family]),
      places: placesOf([places[family].service], port),
      protocol,
      affinitySeconds: undefined,
      backends: placesOf(backends(family), 9),
      ...more,
    })),
  );
}

const both = servicesOf((family) => [places[family].first, places[family].second]);
const onlyFirst = servicesOf((family) => [places[family].first]);

test("policy_egress gives a Service's packets a back end and judges that one, and policy_ingress gives the answers back", async () => {
  await using rig = await ServiceRig.start();
  await rig.serve(both);
  for (const family of families) {
    const { pod, service, first, second } = places[family];
    for (const [protocol, port] of [
      ["tcp", 80],
      ["udp", 53],
    ] as const) {
      await rig.allow([
        { peer: `first ${family}`, port: [protocol, 9], rule: 1 },
        { peer: `second ${family}`, port: [protocol, 9], rule: 2 },
      ]);
      const seen = new Set<string | undefined>();
      for (let count = 0; count < 12; count++) {
        const answer = await rig.ask(protocol, service, port);
        assert.equal(answer.what, "answered", `${protocol} ${service}`);
        assert.equal(answer.peer, `${service} ${port}`, "the client knows the Service alone");
        assert.match(answer.by ?? "", new RegExp(`^${pod} `), "the back end knows the pod");
        seen.add(answer.at);
      }
      assert.deepEqual(seen, new Set([first, second]), "both back ends have their share");

      await rig.allow([{ peer: `first ${family}`, port: [protocol, 9], rule: 1 }]);
      const met = new Set<string>();
      for (let rounds = 0; rounds < 5 && met.size < 2; rounds++) {
        const some = await Promise.all(Array.from({ length: 12 }, () => rig.ask(protocol, service, port)));
        for (const answer of some) assert.ok(answer.what === "silence" || answer.at === first, JSON.stringify(answer));
        for (const { what } of some) met.add(what);
      }
      assert.deepEqual(met, new Set(["answered", "silence"]), "some were given the one that is not allowed");

      await rig.allow([{ peer: `service ${family}`, rule: 1 }]);
      const denied = await rig.ask(protocol, service, port);
      assert.equal(denied.what, "silence", "what is allowed is the back end, and not the Service's address");
      await rig.allow([{ peer: `first ${family}`, port: [protocol, port], rule: 1 }]);
      assert.equal((await rig.ask(protocol, service, port)).what, "silence", "and its port");
    }
  }
});

test("policy_egress leaves alone what is no port of a Service, and everything where sending is not restricted", async () => {
  await using rig = await ServiceRig.start();
  await rig.serve(both);
  for (const family of families) {
    const { service, first } = places[family];
    await rig.allow([{ rule: 1 }]);
    assert.equal((await rig.ask("tcp", first, 9)).at, first);
    assert.equal((await rig.ask("tcp", service, 81)).what, "silence", "nobody has the address");
    await rig.allow([], { egress: [], ingress: [{ rules: [{ rule: 1 }] }] });
    assert.notEqual((await rig.ask("tcp", service, 80)).what, "answered", "it is left to others to translate");
  }
});

test("policy_egress drops what is for a Service without back ends, and says so", async () => {
  await using rig = await ServiceRig.start();
  await rig.serve(servicesOf(() => []));
  await rig.allow([{ rule: 1 }]);
  for (const family of families) {
    const before = rig.policy.packetsOfReason("no_backend");
    assert.equal((await rig.ask("udp", places[family].service, 53)).what, "silence");
    assert.ok(rig.policy.packetsOfReason("no_backend") > before);
  }
});

test("policy_egress and policy_ingress translate datagrams in fragments, and errors about them", async () => {
  await using rig = await ServiceRig.start();
  await rig.allow([{ rule: 1 }]);
  for (const family of families) {
    const { service, first } = places[family];
    await rig.serve(onlyFirst);
    const answer = await rig.ask("udp", service, 53, { size: 5000 });
    assert.deepEqual([answer.what, answer.at, answer.peer], ["answered", first, `${service} 53`]);
    const closed = servicesOf((of) => [places[of].first]).map((port) => ({
      ...port,
      backends: placesOf([first], 4242),
    }));
    await rig.serve(closed);
    assert.equal((await rig.ask("udp", service, 53)).what, "ECONNREFUSED", "the error is about the Service");
  }
});

test("policy_egress keeps the back end of a connection when the Service has another one, and gives datagrams a new one", async () => {
  await using rig = await ServiceRig.start();
  await rig.allow([{ rule: 1 }]);
  for (const family of families) {
    const { service, first, second } = places[family];
    const onlySecond = servicesOf((of) => [places[of].second]);
    await rig.serve(onlyFirst);
    await rig.pod.run(openTcp, { address: service, port: 80 });
    assert.match(await rig.pod.run(talk, {}), new RegExp(`"at":"${first}"`));
    assert.equal((await rig.ask("udp", service, 53, { from: 4053 })).at, first);
    await rig.serve(onlySecond);
    assert.match(await rig.pod.run(talk, {}), new RegExp(`"at":"${first}"`), "an open connection stays where it is");
    assert.equal((await rig.ask("tcp", service, 80)).at, second);
    assert.equal((await rig.ask("udp", service, 53, { from: 4053 })).at, second, "nothing is behind the old one");
    await rig.allow([{ peer: `first ${family}`, rule: 1 }]);
    assert.match(await rig.pod.run(talk, {}), new RegExp(`"at":"${first}"`), "and is judged by that one");
    await rig.allow([{ peer: `second ${family}`, rule: 1 }]);
    assert.equal(await rig.pod.run(talk, {}), "silence", "which is allowed no more");
    await rig.allow([{ rule: 1 }]);
  }
});

test("policy_egress keeps a pod with one back end where the Service says so, for as long as it says", async () => {
  await using rig = await ServiceRig.start();
  await rig.allow([{ rule: 1 }]);
  await rig.serve(both.map((port) => ({ ...port, affinitySeconds: 1 })));
  for (const family of families) {
    const { service } = places[family];
    const answers = [];
    for (let count = 0; count < 12; count++) answers.push((await rig.ask("tcp", service, 80)).at);
    assert.equal(new Set(answers).size, 1, "one of the two, always the same");
    const seen = new Set<string | undefined>();
    for (let count = 0; count < 8 && seen.size < 2; count++) {
      await new Promise((done) => setTimeout(done, 1300));
      seen.add((await rig.ask("tcp", service, 80)).at);
    }
    assert.equal(seen.size, 2, "chosen again after a while");
  }
});

test("policy_ingress gives each answer the address that was asked last, by one port of a pod and one back end", async () => {
  await using rig = await ServiceRig.start();
  await rig.allow([{ rule: 1 }]);
  await rig.serve(onlyFirst);
  for (const family of families) {
    const { service, first } = places[family];
    for (let turn = 0; turn < 6; turn++) {
      const [address, port] = turn % 2 === 0 ? ([service, 53] as const) : ([first, 9] as const);
      const { what, peer } = await rig.ask("udp", address, port, { from: 5300 });
      assert.deepEqual([what, peer], ["answered", `${address} ${port}`], `turn ${turn}`);
    }
  }
});

test("policy_egress never gives two flows of a pod one back end by the same ports", async () => {
  await using rig = await ServiceRig.start();
  await rig.allow([{ rule: 1 }]);
  const again = families.map((family): ServiceTablePort => ({
    id: idOfPort(["default", "again", family]),
    places: placesOf([places[family].service], 81),
    protocol: tcp,
    affinitySeconds: undefined,
    backends: placesOf([places[family].first], 9),
  }));
  await rig.serve([...onlyFirst, ...again]);
  for (const family of families) {
    const { service, first } = places[family];
    await rig.pod.run(openTcp, { address: service, port: 80, from: 5099 });
    assert.match(await rig.pod.run(talk, {}), new RegExp(`"at":"${first}"`));
    const before = rig.policy.packetsOfReason("service_port_taken");
    assert.equal((await rig.ask("tcp", service, 81, { from: 5099 })).what, "silence");
    assert.ok(rig.policy.packetsOfReason("service_port_taken") > before);
    assert.match(await rig.pod.run(talk, {}), new RegExp(`"at":"${first}"`), "the first one is not disturbed");
    assert.equal((await rig.ask("tcp", service, 81)).at, first);
    await rig.pod.run(closeTcp, {});
  }
});

type World = typeof globalThis & { open?: Socket };

/** One connection of the pod, kept for `talk`. */
async function openTcp({ address, port, from }: { address: string; port: number; from?: number }): Promise<void> {
  const { connect } = process.getBuiltinModule("node:net");
  const world = globalThis as World;
  world.open?.resetAndDestroy();
  const socket = connect({ host: address, port, ...(from !== undefined && { localPort: from }) });
  await new Promise<void>((done, fail) => socket.once("connect", done).once("error", fail));
  socket.on("error", () => undefined);
  world.open = socket;
}

function closeTcp(): void {
  (globalThis as World).open?.resetAndDestroy();
}

function talk(): Promise<string> {
  const { open } = globalThis as World;
  return new Promise((done) => {
    open?.once("data", (said) => done(String(said)));
    open?.write("x");
    setTimeout(() => done("silence"), 1000);
  });
}

test("policy_egress and policy_ingress translate SCTP where the Service's port is the back end's, and drop it elsewhere", async () => {
  await using policy = await LoadedPolicy.load(64, { translates_services: true }, false);
  const sctp = 132;
  const ports = families.flatMap((family) =>
    [5000, 7000].map((behind) => ({
      id: idOfPort(["default", "signal", `${behind}`, family]),
      places: placesOf([places[family].service], behind === 5000 ? 5000 : 6000),
      protocol: sctp,
      affinitySeconds: undefined,
      backends: placesOf([places[family].first], behind),
    })),
  );
  await policy.putServices({ serial: 5n, ports });
  await policy.put(smallTable({ peers: {}, egress: [{ rules: [{ port: ["sctp", 5000], rule: 1 }] }] }));
  for (const family of families) {
    const address = family === "ipv4" ? make.v4 : make.v6;
    const [pod, service, first] = [places[family].pod, places[family].service, places[family].first].map(address);
    assert.ok(pod && service && first);
    const chunk = (from: number, to: number): number[] => [...make.be16(from), ...make.be16(to), ...new Uint8Array(20)];
    const frame = (source: Uint8Array, destination: Uint8Array, bytes: readonly number[]): Buffer =>
      family === "ipv4"
        ? make.ethernet(make.ETH_IPV4, make.ipv4(bytes, { protocol: sctp, source, destination }))
        : make.ethernet(make.ETH_IPV6, make.ipv6(bytes, { next: sctp, source, destination }));
    const sent = await policy.programs.egress.testRun({ data: frame(pod, service, chunk(4000, 5000)) });
    assert.equal(sent.retval | 0, -1);
    assert.deepEqual(sent.data, frame(pod, first, chunk(4000, 5000)), "all but the address is as it was");
    const heard = await policy.programs.ingress.testRun({ data: frame(first, pod, chunk(5000, 4000)) });
    assert.equal(heard.retval | 0, -1);
    assert.deepEqual(heard.data, frame(service, pod, chunk(5000, 4000)));
    const before = policy.packetsOfReason("service_sctp_port");
    const refused = await policy.programs.egress.testRun({ data: frame(pod, service, chunk(4001, 6000)) });
    assert.notEqual(refused.retval | 0, -1);
    assert.equal(policy.packetsOfReason("service_sctp_port"), before + 1);
  }
});
