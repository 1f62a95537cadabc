import assert from "node:assert/strict";
import { test } from "node:test";
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
