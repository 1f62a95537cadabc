/** Ports of the node itself that no policy closes. */
export interface FailSafePorts {
  readonly ingress: readonly FailSafePort[];
  readonly egress: readonly FailSafePort[];
  /** The node reaches the API server of its cluster, wherever that listens. */
  readonly reachesApiServer: boolean;
}

export interface FailSafePort {
  readonly protocol: "TCP" | "UDP";
  readonly from: number;
  readonly to: number;
}

const port = (protocol: FailSafePort["protocol"], from: number, to = from): FailSafePort => ({ protocol, from, to });

/** DHCP's, of IPv4 and IPv6. */
const addressing = [port("UDP", 67, 68), port("UDP", 546, 547)];
const controlPlane = [port("TCP", 6443), port("TCP", 2379, 2380), port("TCP", 10250)];

/** SSH, the kubelet, the API server, etcd, DHCP, the daemon's metrics; of what the node sends, also to DNS and the webhook. */
export const usualFailSafePorts: FailSafePorts = {
  ingress: [port("TCP", 22), ...controlPlane, port("TCP", 9091), ...addressing],
  egress: [...controlPlane, port("TCP", 9443), port("TCP", 53), port("UDP", 53), ...addressing],
  reachesApiServer: true,
};

const directions = { in: "ingress", out: "egress" } as const;
const apiServer = "api-server";

/** How settings write them. */
export const failSafeGrammar =
  "give in: and out:, with ; between them, and after each tcp/PORT, udp/PORT or udp/FIRST-LAST with commas between them, usual for what is usual, or none; after out: also api-server";

/** `in:usual,tcp/8443;out:tcp/6443`; of a direction that is left out, what is usual. All mistakes at once. */
export function readFailSafePorts(text: string): {
  readonly ports: FailSafePorts;
  readonly mistakes: readonly string[];
} {
  const read: { -readonly [Part in keyof FailSafePorts]: FailSafePorts[Part] } = { ...usualFailSafePorts };
  const mistakes: string[] = [];
  const seen = new Set<string>();
  for (const part of text.split(";")) {
    const [, word, list = ""] = /^\s*(in|out)\s*:(.*)$/is.exec(part) ?? [];
    if (word === undefined) {
      mistakes.push(`${JSON.stringify(part.trim())} begins with neither in: nor out:`);
      continue;
    }
    const side = word.toLowerCase() as keyof typeof directions;
    if (seen.has(side)) mistakes.push(`${side}: is there twice`);
    seen.add(side);
    const found = readList(side, list, mistakes);
    read[directions[side]] = found.ports;
    if (side === "out") read.reachesApiServer = found.reachesApiServer;
  }
  return { ports: read, mistakes };
}

function readList(
  side: keyof typeof directions,
  list: string,
  mistakes: string[],
): { readonly ports: readonly FailSafePort[]; readonly reachesApiServer: boolean } {
  const items = list.split(",").map((item) => item.trim().toLowerCase());
  const isUsual = items.includes("usual");
  if (items.includes("none") && items.length > 1) mistakes.push(`${side}: none stands beside others`);
  const ports = items.flatMap((item): readonly FailSafePort[] => {
    if (item === "usual") return usualFailSafePorts[directions[side]];
    if (item === "none" || (item === apiServer && side === "out")) return [];
    const found = readPort(item);
    if (found === undefined) mistakes.push(`${side}: ${item === "" ? "an item is empty" : `${item} is no such item`}`);
    return found ?? [];
  });
  const reachesApiServer = items.includes(apiServer) || (isUsual && usualFailSafePorts.reachesApiServer);
  return { ports, reachesApiServer };
}

function readPort(item: string): readonly FailSafePort[] | undefined {
  const [, protocol, first, last = first] = /^(tcp|udp)\/(\d{1,5})(?:-(\d{1,5}))?$/.exec(item) ?? [];
  const [from, to] = [Number(first), Number(last)];
  if (protocol === undefined || from < 1 || from > to || to > 65_535) return undefined;
  return [port(protocol === "tcp" ? "TCP" : "UDP", from, to)];
}
