import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { podKey } from "./pod-network.ts";
import { families, matrixOf, namespaceObject, ninePods, podObject, PolicyRig } from "./policy-rig.ts";

for (const wiring of ["routed", "bridged"] as const) {
  test(`PolicyRig, ${wiring}: without a policy every pod answers every other one, and the node finds them`, async () => {
    await using rig = await PolicyRig.make(wiring);
    const { objects, trouble } = await rig.change({
      write: [
        ...["x", "y", "z"].map((name) => namespaceObject(name, { ns: name })),
        ...ninePods.map((pod) => podObject(pod, rig.network.netnsOf(pod), { pod: pod.name })),
      ],
    });
    assert.equal(trouble, undefined, rig.log);
    assert.deepEqual(
      objects.filter(({ state, messages }) => state !== "in-force" || messages.length > 0),
      [],
    );
    for (const family of families) {
      const cells = matrixOf(ninePods, family, ["TCP", "UDP", "SCTP", "ICMP"]);
      const met = await rig.prober.probe(cells);
      assert.deepEqual(
        cells.filter((_, at) => met[at] !== "answered").map(({ key }) => key),
        [],
      );
    }
    const unserved = { from: "x/a", to: ninePods[1]?.ipv4 ?? "", protocol: "TCP", port: 99 } as const;
    assert.deepEqual(await rig.prober.probe([unserved]), ["refused"]);
  });
}

test("Prober tells each probe that arrives after it was given up, and no other", async () => {
  const [from, to, other] = ninePods;
  assert.ok(from && to && other);
  await using rig = await PolicyRig.make("bridged", [from, to, other]);
  const { network, prober } = rig;
  const netns = network.netnsOf(from);
  // What is sent waits for an answer that does not come.
  network.sandbox.ip(network.netnsOf(to), "link", "set", "eth0", "arp", "off");
  execFileSync("ip", ["netns", "exec", netns, "sysctl", "-qw", "net.ipv4.neigh.eth0.mcast_solicit=60"]);
  const [waiting, never, answered] = [to.ipv4, "192.168.1.77", other.ipv4].map(
    (address) => ({ from: podKey(from), to: address, protocol: "UDP", port: 80 }) as const,
  );
  assert.ok(waiting && never && answered);
  assert.deepEqual(await prober.probe([waiting, never, answered], 400), ["nothing", "nothing", "answered"]);
  assert.deepEqual(await prober.late(), []);
  const mac = execFileSync("ip", ["netns", "exec", network.netnsOf(to), "cat", "/sys/class/net/eth0/address"]);
  const neighbour = [to.ipv4, "lladdr", String(mac).trim(), "dev", "eth0", "nud", "permanent"];
  network.sandbox.ip(netns, "neighbour", "replace", ...neighbour);
  const late = await prober.late();
  assert.equal(late.length, 1);
  assert.equal(late[0], waiting, "the very one that was asked");
});
