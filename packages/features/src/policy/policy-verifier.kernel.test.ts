import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { test } from "node:test";
import * as make from "../filter/testing/packets.ts";
import { LoadedPolicy } from "./testing/loaded-policy.ts";
import { idOfPort, serialOfServices } from "./services/digest-services.ts";
import { placesOf, udp } from "./testing/service-rig.ts";
import { smallTable } from "./testing/small-table.ts";

/** Kernel (major.minor) → direction → instructions that the verifier followed. */
type Recorded = { [kernel: string]: { [direction: string]: number } };

const file = new URL("./testdata/verifier.json", import.meta.url);
const kernel = release().split(".").slice(0, 2).join(".");
/** Growth by more than this must be accepted by UPDATE_GOLDEN=1. */
const tolerance = 1.1;
/** Of the kernel's million, for kernels without a record. */
const most = 400_000;

test("the verifier follows no program of the policy much further than recorded, and they judge", async () => {
  await using policy = await LoadedPolicy.load();
  const measured = policy.verifiedInstructions;
  const record = JSON.parse(readFileSync(file, "utf8")) as Recorded;
  if (process.env["UPDATE_GOLDEN"] === "1") {
    record[kernel] = { ...measured };
    writeFileSync(file, `${JSON.stringify(record, undefined, 2)}\n`);
  }
  const recorded = record[kernel];
  for (const [direction, instructions] of Object.entries(measured)) {
    const limit = recorded === undefined ? most : Math.floor((recorded[direction] ?? 0) * tolerance);
    assert.ok(
      instructions <= limit,
      `${direction}: ${instructions} instructions, ${limit} at most; accept with UPDATE_GOLDEN=1`,
    );
  }
  await policy.put(
    smallTable({
      peers: { friend: [make.v4("10.0.0.0"), 24], friend6: [make.v6("2001:db8::"), 32] },
      ingress: [
        {
          rules: [
            { peer: "friend", port: ["udp", 53], rule: 1 },
            { peer: "friend6", port: ["udp", 53], rule: 2 },
          ],
        },
      ],
    }),
  );
  const packets = [
    make.ethernet(make.ETH_IPV4, make.ipv4(make.udp())),
    make.ethernet(make.ETH_IPV4, make.ipv4(make.udp())),
    make.ethernet(make.ETH_IPV4, make.ipv4(make.udp(), { source: make.v4("10.1.0.1") })),
    make.ethernet(make.ETH_IPV6, make.ipv6(make.udp())),
    make.ethernet(make.ETH_IPV6, make.ipv6(make.udp())),
    make.ethernet(make.ETH_IPV6, make.ipv6(make.udp(), { source: make.v6("2001:db9::1") })),
  ];
  const reasons = [];
  for (const packet of packets) reasons.push((await policy.run("ingress", packet)).reason);
  assert.deepEqual(reasons, ["allowed", "established", "default_deny", "allowed", "established", "default_deny"]);
  assert.equal(policy.packetsOfRule(1, 1), 2);
  assert.equal(policy.packetsOfRule(1, 2), 2);
});

test("the verifier follows programs that translate Services no further than allowed, and they translate", async () => {
  await using policy = await LoadedPolicy.load(64, { translates_services: true });
  for (const [direction, instructions] of Object.entries(policy.verifiedInstructions))
    assert.ok(instructions <= most, `${direction}: ${instructions} instructions, ${most} at most`);
  await policy.put(smallTable({ peers: {}, egress: [{ rules: [{ port: ["udp", 9], rule: 1 }] }] }));
  const ports = ["10.96.0.10", "fd96::10"].map((service, at) => ({
    id: idOfPort([service]),
    places: placesOf([service], 53),
    protocol: udp,
    affinitySeconds: undefined,
    backends: placesOf([["10.9.0.11", "fd09::11"][at] ?? ""], 9),
  }));
  await policy.putServices({ serial: serialOfServices(ports), ports });
  const sent = [
    make.ethernet(make.ETH_IPV4, make.ipv4(make.udp(), { destination: make.v4("10.96.0.10") })),
    make.ethernet(make.ETH_IPV6, make.ipv6(make.udp(), { destination: make.v6("fd96::10") })),
  ];
  const translated = [make.v4("10.9.0.11"), make.v6("fd09::11")];
  for (const [at, packet] of sent.entries()) {
    const offset = at === 0 ? 30 : 38;
    const { retval, data } = await policy.programs.egress.testRun({ data: packet });
    assert.equal(retval | 0, -1);
    const to = data.subarray(offset, offset + (translated[at]?.length ?? 0));
    assert.deepEqual([...to], [...(translated[at] ?? [])]);
  }
});
