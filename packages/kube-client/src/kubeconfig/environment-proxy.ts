import { BlockList, isIP } from "node:net";

/**
 * The proxy that the environment names for a server, as Go's clients read it: HTTPS_PROXY or HTTP_PROXY, in capitals or
 * not, unless NO_PROXY names the host, a domain above it, its address or a network around it. Never for loopback.
 */
export function environmentProxy(
  env: Readonly<Record<string, string | undefined>>,
  server: string,
): string | undefined {
  const read = (name: string): string => env[name] ?? env[name.toLowerCase()] ?? "";
  const { protocol, hostname, port } = new URL(server);
  const proxy = read(protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY");
  if (proxy === "") return undefined;
  const host = hostname.replace(/^\[|\]$/g, "");
  const usual = protocol === "https:" ? "443" : "80";
  const isExcepted = read("NO_PROXY")
    .split(",")
    .some((entry) => excepts(entry.trim().toLowerCase(), host, port === "" ? usual : port));
  if (isExcepted || isLoopback(host)) return undefined;
  return proxy.includes("://") ? proxy : `http://${proxy}`;
}

function excepts(entry: string, host: string, port: string): boolean {
  if (entry === "") return false;
  if (entry === "*") return true;
  const [, network = "", bits] = /^([^/]+)\/(\d+)$/.exec(entry) ?? [];
  if (bits !== undefined)
    return isIP(network) !== 0 && isIP(host) === isIP(network) && isWithin(host, network, Number(bits));
  const [, named = entry, wantedPort] = isIP(entry) === 6 ? [] : (/^(.*?):(\d+)$/.exec(entry) ?? []);
  if (wantedPort !== undefined && wantedPort !== port) return false;
  const name = named.replace(/^\[|\]$/g, "");
  if (isIP(name) !== 0) return name === host;
  if (name.startsWith(".") || name.startsWith("*.")) return host.endsWith(name.replace(/^\*/, ""));
  return host === name || host.endsWith(`.${name}`);
}

function isWithin(host: string, network: string, bits: number): boolean {
  const family = isIP(host) === 6 ? "ipv6" : "ipv4";
  if (bits > (family === "ipv6" ? 128 : 32)) return false;
  const list = new BlockList();
  list.addSubnet(network, bits, family);
  return list.check(host, family);
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
