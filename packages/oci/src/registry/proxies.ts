import { BlockList, isIP } from "node:net";
import { ImageError } from "@bpfleet/base";

/** By which proxies hosts are reached, as the usual variables of the environment say it. */
export interface Proxies {
  /** URL of the proxy for `http://`, for `https://`. */
  readonly http: string | undefined;
  readonly https: string | undefined;
  /** What is reached without one: names with all below them, addresses, networks, `*`; each perhaps with a port. */
  readonly except: readonly string[];
}

/** `undefined` where no proxy is named. Throws an ImageError for what is no URL of one. */
export function readProxies(env: Readonly<Record<string, string | undefined>>): Proxies | undefined {
  const find = (name: string): string | undefined => env[name.toLowerCase()] || env[name] || undefined;
  const http = find("HTTP_PROXY");
  const https = find("HTTPS_PROXY");
  if (http === undefined && https === undefined) return undefined;
  const except = (find("NO_PROXY") ?? "").split(/[,\s]+/).filter((entry) => entry !== "");
  return { http: http && proxyUrl("HTTP_PROXY", http), https: https && proxyUrl("HTTPS_PROXY", https), except };
}

/** URL of the proxy by which this one is reached; this machine itself never by any. */
export function proxyFor(url: URL, proxies: Proxies | undefined): string | undefined {
  const proxy = url.protocol === "https:" ? proxies?.https : proxies?.http;
  if (proxy === undefined) return undefined;
  const host = url.hostname
    .replace(/^\[(.*)\]$/, "$1")
    .replace(/\.$/, "")
    .toLowerCase();
  const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port;
  if (host === "localhost" || isIn(host, "127.0.0.0/8") || host === "::1") return undefined;
  return proxies?.except.some((entry) => isMeant(entry.toLowerCase(), host, port)) === true ? undefined : proxy;
}

function isMeant(entry: string, host: string, port: string): boolean {
  if (entry === "*" || isIn(host, entry)) return true;
  const [, bracketed, plain = bracketed ?? "", wanted] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(entry) ?? [];
  const name = plain === "" ? entry : plain;
  if (wanted !== undefined && wanted !== port) return false;
  if (name === host) return true;
  const suffix = name.replace(/^\*?\.?/, "");
  // `.example.com` means what is below it, `example.com` itself as well.
  return suffix !== "" && isIP(host) === 0 && host.endsWith(`.${suffix}`);
}

/** Whether an address is in a network such as `10.0.0.0/8`. */
function isIn(host: string, network: string): boolean {
  const [, address = "", length = ""] = /^([0-9a-f.:]+)\/(\d{1,3})$/.exec(network) ?? [];
  const [family, own] = [isIP(address), isIP(host)];
  if (family === 0 || family !== own || Number(length) > (family === 4 ? 32 : 128)) return false;
  const type = family === 4 ? "ipv4" : "ipv6";
  const list = new BlockList();
  list.addSubnet(address, Number(length), type);
  return list.check(host, type);
}

function proxyUrl(name: string, text: string): string {
  const url = URL.parse(text.includes("://") ? text : `http://${text}`);
  if (url !== null && (url.protocol === "http:" || url.protocol === "https:") && url.hostname !== "") return url.href;
  // The text may hold a password.
  throw new ImageError(`read ${name}: it is not the URL of a proxy; write it as http://HOST:PORT`, {
    code: "invalid",
    retry: "when-changed",
  });
}
