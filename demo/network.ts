import { execFileSync } from "node:child_process";

/**
 * The demo's world, made inside its own network namespace, which is the router:
 *
 *     clients ── eth0 [router] eth1 ── server
 */
export const server = { address: "10.0.0.2", port: 9000 };

export interface Client {
  readonly name: string;
  readonly address: string;
  readonly story: string;
}

export const clients = {
  permitted: { name: "permitted", address: "192.168.1.10", story: "an ordinary client" },
  blacklisted: { name: "blacklisted", address: "192.168.1.100", story: "its address is on the list" },
  badNet: {
    name: "bad network",
    address: "10.10.10.7",
    story: "it sits in 10.10.10.0/24, which list and map both name",
  },
  flooder: { name: "flooder", address: "192.168.1.50", story: "it sends 30,000 packets/s; 10,000 are allowed" },
  late: {
    name: "late arrival",
    address: "172.16.5.9",
    story: "harmless, until bpftool adds its network to the live map",
  },
} as const satisfies Record<string, Client>;

export const pods = {
  web: { address: "10.1.0.2", router: "10.1.0.1" },
  db: { address: "10.2.0.2", router: "10.2.0.1" },
} as const;

function ip(line: string): void {
  execFileSync("ip", line.split(" "), { stdio: "pipe" });
}

/** Two pods as docs/guides/policy.md makes them, each routed by an interface of its name. */
export function makePods(): void {
  for (const [pod, { address, router }] of Object.entries(pods)) {
    ip(`netns add ${pod}`);
    ip(`link add ${pod} type veth peer name eth0 netns ${pod}`);
    ip(`address add ${router}/24 dev ${pod}`);
    ip(`link set ${pod} up`);
    ip(`-n ${pod} link set eth0 up`);
    ip(`-n ${pod} address add ${address}/24 dev eth0`);
    ip(`-n ${pod} route add default via ${router}`);
  }
}

export function makeNetwork(): void {
  ip("netns add clients");
  ip("netns add server");
  ip("link set lo up");
  ip("link add eth0 type veth peer name eth0 netns clients");
  ip("link add eth1 type veth peer name eth0 netns server");
  ip("address add 192.168.1.1/24 dev eth0");
  ip("address add 10.0.0.1/24 dev eth1");
  ip("link set eth0 up");
  ip("link set eth1 up");
  ip("-n clients link set eth0 up");
  ip("-n server link set eth0 up");
  ip("-n server address add 10.0.0.2/24 dev eth0");
  ip("-n server route add default via 10.0.0.1");
  ip("-n clients address add 192.168.1.2/24 dev eth0");
  ip("-n clients route add default via 192.168.1.1");
  for (const client of Object.values(clients)) {
    ip(`-n clients address add ${client.address}/32 dev eth0`);
    if (!client.address.startsWith("192.168.1.")) ip(`route add ${client.address}/32 dev eth0`);
  }
  execFileSync("sysctl", [
    "-q",
    "-w",
    "net.ipv4.ip_forward=1",
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.eth0.rp_filter=0",
  ]);
}

/** The command that runs `argv` inside one of the named namespaces, with the demo's own mounts kept. */
export function inNamespace(
  name: "clients" | "server" | keyof typeof pods,
  argv: readonly string[],
): [string, string[]] {
  return ["nsenter", [`--net=/run/netns/${name}`, "--", ...argv]];
}
