import assert from "node:assert/strict";
import { test } from "node:test";
import type { Address, Link } from "@bpfleet/netlink";
import { someLink } from "../testing/some-link.ts";
import { judgeEndpoint, type SeenNamespace } from "./judge-endpoint.ts";

const link = (name: string, change: Partial<Link>): Link => ({ ...someLink, name, ...change });
const loopback = link("lo", { ifindex: 1, hardwareType: 772, kind: "" });
const inside = link("eth0", { ifindex: 3, peerIfindex: 40, mac: "02:00:00:00:00:03" });
const outside = link("veth7", { ifindex: 40, peerIfindex: 3, peerNetnsId: 5, masterIfindex: 9 });
const address = (ifindex: number, text: string, prefixLength: number, scope = "global"): Address => ({
  ifindex,
  family: text.includes(":") ? 6 : 4,
  address: text,
  peer: undefined,
  prefixLength,
  scope,
  label: "",
  flags: 0,
});
const pod = (change: Partial<SeenNamespace>): SeenNamespace => ({
  what: "network namespace web",
  hostLinks: [outside],
  links: [loopback, inside],
  addresses: [],
  defaultRoutes: new Set(),
  ...change,
});
const why = (change: Partial<SeenNamespace>): string => {
  const facts = judgeEndpoint(pod(change));
  return facts.found ? "found" : `${facts.isFinal ? "final" : "waits"}: ${facts.why}`;
};

test("judgeEndpoint finds the other end of a pod's veth, be it in a bridge or not", () => {
  const addresses = [
    address(3, "fe80::1", 64, "link"),
    address(3, "fd00::9", 64),
    address(3, "10.4.0.9", 24),
    address(1, "127.0.0.1", 8, "host"),
  ];
  assert.deepEqual(judgeEndpoint(pod({ addresses })), {
    found: true,
    interface: "veth7",
    ifindex: 40,
    addresses: ["10.4.0.9/24", "fd00::9/64"],
    mac: "02:00:00:00:00:03",
  });
});

test("judgeEndpoint takes a veth that is not up yet: nothing passes it before it is judged", () => {
  assert.equal(judgeEndpoint(pod({ links: [loopback, { ...inside, isUp: false }] })).found, true);
});

test("judgeEndpoint judges the interface with the default route, and names the others", () => {
  const second = link("net1", { ifindex: 4, peerIfindex: 41 });
  const facts = judgeEndpoint(
    pod({
      hostLinks: [outside, link("veth8", { ifindex: 41, peerIfindex: 4, peerNetnsId: 5 })],
      links: [loopback, inside, second],
      addresses: [address(3, "10.4.0.9", 24), address(4, "10.5.0.9", 24)],
      defaultRoutes: new Set(["net1"]),
    }),
  );
  assert.ok(facts.found);
  assert.equal(facts.interface, "veth8");
  assert.equal(facts.note, "net1 in network namespace web is judged; what passes eth0 (veth) beside it is not");
});

test("judgeEndpoint says of interfaces without an end on the node what they are and what helps", () => {
  const of = (kind: string, name = "eth0") =>
    why({ hostLinks: [], links: [loopback, link(name, { kind, peerIfindex: 2, peerNetnsId: 1 })] });
  assert.match(of("ipvlan"), /^final: eth0 in network namespace web is an interface of kind ipvlan: .*; have the/);
  assert.match(of("macvlan"), /^final: .*kind macvlan/);
  assert.match(of(""), /^final: .*is a device of its own/);
  const beside = why({
    links: [loopback, link("eth0", { kind: "ipvlan" }), link("net1", { ifindex: 3, peerIfindex: 40 })],
    defaultRoutes: new Set(["eth0"]),
  });
  assert.match(beside, /^final: eth0 .*; beside it there is net1 \(veth\); have/);
});

test("judgeEndpoint waits for an interface, and for the other end of one", () => {
  assert.match(why({ links: [loopback] }), /^waits: network namespace web has no interface but its loopback yet/);
  assert.match(why({ links: [loopback, link("sit0", { kind: "sit", isUp: false })] }), /^waits: .*no interface/);
  assert.match(why({ hostLinks: [] }), /^waits: the other end of eth0 .*; it is found as soon as it is$/);
  // Numbers alone prove nothing: 3 is the number of many interfaces.
  assert.match(why({ hostLinks: [link("veth9", { ifindex: 50, peerIfindex: 3, peerNetnsId: 5 })] }), /^waits: /);
});
