import assert from "node:assert/strict";
import { test } from "node:test";
import { idOfPort } from "./services/digest-services.ts";
import type { ServiceTablePort } from "./services/service-table.ts";
import { places, placeOf, ServiceRig, tcp, udp, type Family } from "./testing/service-rig.ts";

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
      places: [placeOf(places[family].service, port)],
      protocol,
      affinitySeconds: undefined,
      backends: backends(family).map((address) => placeOf(address, 9)),
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
      const some = await Promise.all(Array.from({ length: 12 }, () => rig.ask(protocol, service, port)));
      for (const answer of some) assert.ok(answer.what === "silence" || answer.at === first, JSON.stringify(answer));
      assert.equal(new Set(some.map(({ what }) => what)).size, 2, "some were given the one that is not allowed");

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
      backends: [placeOf(first, 4242)],
    }));
    await rig.serve(closed);
    assert.equal((await rig.ask("udp", service, 53)).what, "ECONNREFUSED", "the error is about the Service");
  }
});
