import assert from "node:assert/strict";
import { test } from "node:test";
import { encode } from "dns-packet";
import * as make from "../filter/testing/packets.ts";
import type { NamePattern } from "./policy.ts";
import { compileWorld } from "./testing/compiled-world.ts";
import { endpointPacket, friend, friend6 } from "./testing/endpoint-packets.ts";
import { LoadedPolicy } from "./testing/loaded-policy.ts";
import { podOf, policyOf } from "./testing/written-policy.ts";

const origin = { object: { group: "cilium.io", kind: "CiliumNetworkPolicy", namespace: "x", name: "p" }, path: "" };
const questions = [{ type: "A", name: "a.test" }] as const;
const opt = { type: "OPT", name: ".", udpPayloadSize: 1232, flags: 0, options: [] };
const padded = { ...opt, options: [{ code: "PADDING", length: 40 }] };

function ask(additionals: readonly object[] = []): Buffer {
  return encode({ type: "query", id: 7, questions: [...questions], additionals: [...additionals] as never[] });
}

/** With a number of the header changed, or more behind it. */
const counted = (message: Buffer, at: number): Buffer => Buffer.from(message.with(at, 1));
const followed = (message: Buffer, more: Uint8Array): Buffer => Buffer.concat([message, more]);

const alone = [ask(), ask([opt]), ask([padded])];
const others = [
  followed(ask(), Buffer.from("secret")),
  followed(ask(), Buffer.alloc(2500)),
  followed(ask([opt]), Buffer.alloc(1)),
  ask([opt]).subarray(0, -1),
  ask([opt, opt]),
  ask([{ type: "A", name: "x.test", ttl: 1, data: "192.0.2.1" }]),
  ask([{ type: "A", name: ".", ttl: 1, data: "192.0.2.1" }]),
  ...[7, 9, 11].map((at) => counted(ask(), at)),
  ...[7, 9].map((at) => counted(ask([opt]), at)),
];

test("policy_egress takes for a question what is nothing else, with EDNS or without", async () => {
  await using policy = await LoadedPolicy.load(64, { heeds_names: true });
  const put = async (dns: readonly NamePattern[] | undefined): Promise<void> => {
    const ports = [{ origin, match: "ports", protocol: "UDP", from: 53, to: 53, dns }] as const;
    const world = { pods: [podOf("10.0.0.2", "2001:db8::2")], nodes: [], localHost: "never" } as const;
    await policy.put(compileWorld([policyOf("p", { egress: { allow: [{ ports }] } })], world).compiled.table);
  };
  let port = 1000;
  const send = async (message: Uint8Array, server = friend, behind = 0): Promise<string> => {
    const datagram = make.udp([...message], { source: port++, destination: 53 });
    const payload = [...datagram, ...new Uint8Array(behind)];
    return (await policy.run("egress", endpointPacket("egress", server, 17, payload))).reason;
  };
  await put([{ is: "name", text: "a.test" }]);
  for (const server of [friend, friend6]) {
    for (const message of alone) assert.equal(await send(message, server), "allowed");
    for (const [at, message] of others.entries())
      assert.equal(await send(message, server), "dns_name_refused", `${at} ${server.length}`);
    assert.equal(await send(ask(), server, 8), "dns_name_refused", "behind the datagram, in its packet");
  }
  await put([{ is: "pattern", text: "*" }]);
  for (const message of alone) assert.equal(await send(message), "allowed");
  for (const message of others) assert.equal(await send(message), "dns_name_refused", "of no name");
  await put(undefined);
  for (const message of [...alone, ...others]) assert.equal(await send(message), "allowed", "nobody asks for names");
  await put([]);
  for (const message of alone) assert.equal(await send(message), "dns_name_refused", "no name is named");
});
