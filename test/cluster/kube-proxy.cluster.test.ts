import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "node:test";
import { idOfPort, places, placesOf, ServiceRig, type Answer } from "@bpfleet/features/testing/services";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { isWholeClusterBuilt } from "../../tools/build-whole-cluster.ts";
import { startApiServer, type ApiServer } from "./api-server.ts";
import { startKubeProxy } from "./kube-proxy.ts";

const skip = whyNoBuild() ?? (isWholeClusterBuilt() ? undefined : "kube-proxy is not built");
const { service, first, second, pod } = places.ipv4;
const nodeName = "n1";
const ports = [
  { protocol: "tcp", port: 80 },
  { protocol: "udp", port: 53 },
] as const;

/** A node, and one Service behind which there are two back ends, with TCP and UDP. */
async function declare(server: ApiServer): Promise<void> {
  const create = async (path: string, object: object): Promise<void> => {
    const { status, body } = await server.call("POST", path, object);
    assert.equal(status, 201, JSON.stringify(body));
  };
  await create("/api/v1/nodes", { apiVersion: "v1", kind: "Node", metadata: { name: nodeName } });
  const address = { type: "InternalIP", address: "10.9.0.1" };
  const patch = { "Content-Type": "application/merge-patch+json" };
  await server.call("PATCH", `/api/v1/nodes/${nodeName}/status`, { status: { addresses: [address] } }, patch);
  const named = ports.map(({ protocol, port }) => ({ name: protocol, protocol: protocol.toUpperCase(), port }));
  await create("/api/v1/namespaces/default/services", {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "web" },
    spec: { clusterIP: service, ports: named },
  });
  await create("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: "web-1", labels: { "kubernetes.io/service-name": "web" } },
    addressType: "IPv4",
    ports: named.map(({ name, protocol }) => ({ name, protocol, port: 9 })),
    endpoints: [first, second].map((each) => ({ addresses: [each], conditions: { ready: true } })),
  });
}

const askAll = (rig: ServiceRig, { protocol, port }: (typeof ports)[number], count: number): Promise<Answer[]> =>
  Promise.all(Array.from({ length: count }, () => rig.ask(protocol, service, port)));

for (const mode of ["iptables", "nftables"]) {
  test(`policy judges the back ends of a Service beside kube-proxy in ${mode} mode`, { skip }, async () => {
    await using server = await startApiServer(buildControlPlane(), ["--disable-admission-plugins=ServiceAccount"]);
    await declare(server);
    await using rig = await ServiceRig.start();
    const place = { inside: rig.node, netns: rig.nodeNetns, nodeName, podRange: "10.9.0.0/24" };
    await using _proxy = await startKubeProxy(place, server, mode);

    await rig.allow([], { egress: [], ingress: [{ rules: [{ rule: 1 }] }] });
    for (let tries = 0; (await rig.ask("tcp", service, 80)).what !== "answered"; tries++) {
      assert.ok(tries < 100, "kube-proxy translates for pods that send as they like");
      await sleep(300);
    }
    await rig.serve(
      ports.map(({ protocol, port }) => ({
        id: idOfPort(["default", "web", protocol]),
        places: placesOf([service], port),
        protocol: protocol === "tcp" ? 6 : 17,
        affinitySeconds: undefined,
        backends: placesOf([first, second], 9),
      })),
    );
    for (const each of ports) {
      await rig.allow([{ peer: "first ipv4", port: [each.protocol, 9], rule: 1 }]);
      const some = await askAll(rig, each, 24);
      for (const answer of some)
        assert.ok(answer.what === "silence" || answer.at === first, `only what is allowed: ${JSON.stringify(answer)}`);
      assert.equal(new Set(some.map(({ what }) => what)).size, 2, "some were given the back end that is not");

      await rig.allow([{ peer: "service ipv4", rule: 1 }]);
      const denied = await askAll(rig, each, 8);
      assert.deepEqual(
        new Set(denied.map(({ what }) => what)),
        new Set(["silence"]),
        "the Service's address is nobody",
      );

      await rig.allow([{ port: [each.protocol, 9], rule: 1 }]);
      const all = await askAll(rig, each, 24);
      assert.deepEqual(new Set(all.map(({ what }) => what)), new Set(["answered"]));
      assert.deepEqual(new Set(all.map(({ at }) => at)), new Set([first, second]));
      assert.deepEqual(new Set(all.map(({ peer }) => peer)), new Set([`${service} ${each.port}`]));
      for (const { by = "" } of all) assert.match(by, new RegExp(`^${pod} `), "nobody translated it again");
    }
  });
}
