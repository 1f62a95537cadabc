import fc from "fast-check";
import type { Prefix } from "../../../filter/intent.ts";
import type { Peer, Policy, PolicyDirection, PolicyRule, PortMatch, Requirement } from "../../policy.ts";
import type { World, WorldPacket, WorldPod } from "../../testing/world.ts";

/* Small worlds in which everything is near everything else, so that what is compiled meets often. */

const object = { group: "g", kind: "K", namespace: "x", name: "p" };
const origin = { object, path: "" };

const namespaces = ["x", "y"];
const apps = ["a", "b", "c"];
const hosts4 = [
  "10.0.0.0",
  "10.0.0.1",
  "10.0.0.2",
  "10.0.1.1",
  "10.1.0.1",
  "192.168.0.1",
  "255.255.255.255",
  "0.0.0.0",
];
const hosts6 = ["2001:db8::", "2001:db8::1", "2001:db8:0:1::1", "2001:db9::1", "::", "ffff::1", "::ff00:10.0.0.1"];
const ports = [0, 1, 79, 80, 81, 255, 256, 443, 8080, 65_534, 65_535];
const names = ["http", "dns"];

const labels = fc.record(
  { app: fc.constantFrom(...apps), tier: fc.constantFrom("front", "back") },
  { requiredKeys: [] },
) as fc.Arbitrary<Record<string, string>>;

function podArbitrary(at: number, isOnThisNode: boolean): fc.Arbitrary<WorldPod> {
  return fc.record({
    name: fc.constant(`pod-${at}`),
    namespace: fc.constantFrom(...namespaces),
    labels,
    namespaceLabels: fc.constantFrom({ env: "x" }, { env: "y" }, {}),
    serviceAccount: fc.constantFrom("default", "admin", ""),
    namedPorts: fc.array(
      fc.record({
        name: fc.constantFrom(...names),
        protocol: fc.constantFrom("TCP", "UDP"),
        port: fc.constantFrom(80, 81, 8080),
      }),
      { maxLength: 3 },
    ),
    addresses: fc.constant([`10.0.${at % 3}.${at}`, `2001:db8:0:${at % 3}::${at.toString(16)}`]),
    isOnThisNode: fc.constant(isOnThisNode),
  });
}

export const worlds: fc.Arbitrary<World> = fc.record({
  pods: fc.tuple(...Array.from({ length: 8 }, (_, at) => podArbitrary(at + 2, at < 3))),
  nodes: fc.tuple(
    ...[0, 1, 2].map((at) =>
      fc.record({
        name: fc.constant(`node-${at}`),
        labels: fc.constantFrom({ zone: "1" }, { zone: "2" }, {}),
        addresses: fc.constant([`10.1.0.${at}`, `2001:db9::${at}`]),
        isThisNode: fc.constant(at === 0),
      }),
    ),
  ),
  localHost: fc.constantFrom("auto", "never"),
});

const operator = fc.constantFrom("In", "NotIn", "Exists", "DoesNotExist");
function requirement(
  on: Requirement["on"],
  keys: readonly string[],
  values: readonly string[],
): fc.Arbitrary<Requirement> {
  return fc.record({
    on: fc.constant(on),
    key: fc.constantFrom(...keys),
    operator,
    values: fc.array(fc.constantFrom(...values), { minLength: 1, maxLength: 2 }),
  }) as fc.Arbitrary<Requirement>;
}

const podRequirement = fc.oneof(
  { weight: 4, arbitrary: requirement("pod", ["app"], apps) },
  requirement("pod", ["tier", "none"], ["front", "back"]),
  requirement("namespace-name", [""], namespaces),
  requirement("namespace-label", ["env"], ["x", "y"]),
  requirement("service-account", [""], ["default", "admin"]),
  requirement("cluster", [""], ["default", "other"]),
  requirement("reserved", ["host"], [""]),
  requirement("node", ["zone"], ["1"]),
);

const lengths4 = [0, 8, 16, 23, 24, 31, 32];
const lengths6 = [0, 32, 48, 64, 112, 127, 128];

function masked(text: string, length: number): Prefix {
  const bytes = bytesOf(text);
  for (let bit = length; bit < bytes.length * 8; bit++) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) & ~(0x80 >> (bit & 7));
  return { family: bytes.length === 4 ? 4 : 6, bytes, length };
}

function bytesOf(text: string): Uint8Array {
  if (!text.includes(":")) return Uint8Array.from(text.split("."), Number);
  const [head = "", tail = ""] = text.split("::");
  const words = (part: string): number[] =>
    part === ""
      ? []
      : part.split(":").flatMap((word) => (word.includes(".") ? pairs(word) : [Number.parseInt(word, 16)]));
  const [first, last] = [words(head), words(tail)];
  const all = [...first, ...Array.from({ length: 8 - first.length - last.length }, () => 0), ...last];
  return Uint8Array.from(all.flatMap((word) => [word >> 8, word & 255]));
}

function pairs(text: string): number[] {
  const [a = 0, b = 0, c = 0, d = 0] = text.split(".").map(Number);
  return [a * 256 + b, c * 256 + d];
}

const prefix = fc.oneof(
  fc.tuple(fc.constantFrom(...hosts4, "10.0.2.2", "10.0.0.3"), fc.constantFrom(...lengths4)),
  fc.tuple(fc.constantFrom(...hosts6, "2001:db8:0:2::2"), fc.constantFrom(...lengths6)),
);

const peer: fc.Arbitrary<Peer> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .record({ where: fc.array(podRequirement, { maxLength: 2 }) })
      .map(({ where }): Peer => ({ origin, peer: "pods", where })),
  },
  fc
    .array(requirement("node", ["zone"], ["1", "2"]), { maxLength: 1 })
    .map((where): Peer => ({ origin, peer: "nodes", where })),
  fc
    .constantFrom("all", "world", "world-ipv4", "world-ipv6", "cluster", "host", "remote-node", "none", "init")
    .map((entity): Peer => ({ origin, peer: "entity", entity: entity as "all" })),
  {
    weight: 5,
    arbitrary: fc
      .record({
        whole: prefix,
        except: fc.array(prefix, { maxLength: 2 }),
        matches: fc.constantFrom("world", "everything"),
      })
      .map(({ whole, except, matches }): Peer => ({
        origin,
        peer: "addresses",
        prefix: masked(...whole),
        except: except.map((each) => masked(...each)),
        matches: matches as "world",
      })),
  },
);

const protocol = fc.constantFrom("TCP", "UDP", "SCTP");
const portMatch: fc.Arbitrary<PortMatch> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(protocol, fc.constantFrom(...ports), fc.constantFrom(...ports))
      .map(([protocol, a, b]): PortMatch => ({
        origin,
        match: "ports",
        protocol: protocol as "TCP",
        from: Math.min(a, b),
        to: Math.max(a, b),
        dns: undefined,
      })),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(protocol, fc.constantFrom(...names), fc.constantFrom(undefined, 80, 443, 65_535))
      .map(([protocol, name, to]): PortMatch => ({
        origin,
        match: "named-port",
        protocol: protocol as "TCP",
        name,
        to,
        dns: undefined,
      })),
  },
  fc
    .tuple(fc.constantFrom(4, 6), fc.constantFrom(0, 8, 128))
    .map(([family, type]): PortMatch => ({ origin, match: "icmp", family: family as 4, type })),
  fc.constantFrom(2, 47).map((number): PortMatch => ({ origin, match: "ip-protocol", number })),
);

const rule: fc.Arbitrary<PolicyRule> = fc.record({
  origin: fc.constant(origin),
  description: fc.constant(undefined),
  peers: fc.oneof(fc.constant("any" as const), { weight: 4, arbitrary: fc.array(peer, { maxLength: 3 }) }),
  ports: fc.oneof(fc.constant("any" as const), { weight: 2, arbitrary: fc.array(portMatch, { maxLength: 3 }) }),
  bandwidth: fc.constant(undefined),
  unserved: fc.constant([]),
});

const direction: fc.Arbitrary<PolicyDirection> = fc.record({
  isDefaultDeny: fc.boolean(),
  allow: fc.array(rule, { maxLength: 3 }),
  deny: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, fc.array(rule, { maxLength: 2 })),
});

export const policySets: fc.Arbitrary<readonly Policy[]> = fc
  .array(
    fc.array(
      fc.record({
        where: fc.array(requirement("pod", ["app"], apps), { maxLength: 1 }),
        ingress: direction,
        egress: direction,
      }),
      { minLength: 1, maxLength: 2 },
    ),
    { maxLength: 4 },
  )
  .map((all) =>
    all.map((statements, at): Policy => ({
      ref: { ...object, name: `p${at}` },
      mode: "enforce",
      onRevoke: "cut",
      statements: statements.map(({ where, ingress, egress }) => ({
        origin,
        subject: { selects: "pods", where, origin },
        ingress,
        egress,
        options: {},
      })),
    })),
  );

const peerAddress = fc.oneof(
  fc.constantFrom(...hosts4, ...hosts6.filter((each) => !each.includes("."))),
  fc.nat(9).map((at) => `10.0.${at % 3}.${at}`),
  fc.nat(9).map((at) => `2001:db8:0:${at % 3}::${at.toString(16)}`),
  fc.nat(3).map((at) => `10.1.0.${at}`),
  fc.nat(3).map((at) => `2001:db9::${at}`),
);

export const packets: fc.Arbitrary<WorldPacket> = fc
  .record({
    pod: fc.nat(2).map((at) => `pod-${at + 2}`),
    direction: fc.constantFrom("ingress" as const, "egress" as const),
    peer: peerAddress,
    carries: fc.oneof(
      { weight: 4, arbitrary: fc.tuple(protocol, fc.constantFrom(...ports)) },
      fc.tuple(fc.constant("ICMP"), fc.constantFrom(0, 8, 128)),
      fc.tuple(fc.constantFrom(2, 47, 50), fc.constant(0)),
    ),
  })
  .map(({ pod, direction, peer, carries: [protocol, port] }) => ({
    pod,
    direction,
    peer,
    protocol: protocol === "ICMP" && peer.includes(":") ? "ICMPv6" : (protocol as "TCP"),
    port,
  }));
