import { parse } from "smol-toml";
import { layouts, type Layout } from "./layout.ts";
import { table, textOf } from "./toml-keys.ts";

/** What bpfd.toml says of the API; paths and numbers that it leaves out are bpfd's. */
export interface BpfdConfig {
  /** `undefined`: nothing is served by TCP. */
  readonly tls: TlsFiles | undefined;
  readonly address: string;
  readonly port: number;
  readonly unix: string;
  /** Names of client certificates that may unload everything. Ours; bpfd had none. */
  readonly administrators: readonly string[];
  /** Of answers to clients that have loaded nothing. Ours. */
  readonly layout: Layout;
  /** By interface, where the file says something of it. */
  readonly xdpModes: Readonly<Record<string, "native" | "skb">>;
  /** What the file says and nothing comes of. */
  readonly notices: readonly string[];
}

export interface TlsFiles {
  readonly caCert: string;
  readonly cert: string;
  readonly key: string;
}

/** bpfd's client reads these, its daemon did not. */
const clientKeys = ["client_cert", "client_key"] as const;

/** Throws a SyntaxError that names the key. */
export function parseBpfdConfig(text: string): BpfdConfig {
  const file = table(parse(text), "", ["tls", "interfaces", "grpc", "loader"]);
  const tls =
    file["tls"] === undefined ? undefined : table(file["tls"], "tls", ["ca_cert", "cert", "key", ...clientKeys]);
  const grpc = table(file["grpc"], "grpc", ["endpoint"]);
  const endpoint = table(grpc["endpoint"], "grpc.endpoint", ["address", "port", "unix"]);
  const loader = table(file["loader"], "loader", ["administrators", "layout"]);
  const unread = clientKeys.filter((key) => tls?.[key] !== undefined);
  const layout = textOf(loader, "layout", "loader.layout", "p2").toLowerCase();
  const known = layouts.find((each) => each === layout);
  if (known === undefined) throw new SyntaxError(`loader.layout: must be one of ${layouts.join(", ")}, is ${layout}`);
  const port = endpoint["port"] ?? 50051;
  if (typeof port !== "number" || !Number.isInteger(port) || port < 0 || port > 65535)
    throw new SyntaxError(`grpc.endpoint.port: must be a port, is ${JSON.stringify(port)}`);
  const administrators = loader["administrators"] ?? [];
  if (!Array.isArray(administrators) || !administrators.every((name) => typeof name === "string"))
    throw new SyntaxError("loader.administrators: must be a list of names");
  return {
    tls:
      tls === undefined
        ? undefined
        : {
            caCert: textOf(tls, "ca_cert", "tls.ca_cert", "/etc/bpfd/certs/ca/ca.crt"),
            cert: textOf(tls, "cert", "tls.cert", "/etc/bpfd/certs/bpfd/tls.crt"),
            key: textOf(tls, "key", "tls.key", "/etc/bpfd/certs/bpfd/tls.key"),
          },
    address: textOf(endpoint, "address", "grpc.endpoint.address", "::1"),
    port,
    unix: textOf(endpoint, "unix", "grpc.endpoint.unix", "/run/bpfd/bpfd.sock"),
    administrators,
    layout: known,
    xdpModes: readModes(table(file["interfaces"], "interfaces")),
    notices: unread.map((key) => `tls.${key}: is for clients, and is not read here`),
  };
}

function readModes(interfaces: Record<string, unknown>): Record<string, "native" | "skb"> {
  return Object.fromEntries(
    Object.entries(interfaces).map(([name, value]) => {
      const key = `interfaces.${name}`;
      const asked = textOf(table(value, key, ["xdp_mode"]), "xdp_mode", `${key}.xdp_mode`, "skb");
      if (asked === "hw")
        throw new SyntaxError(
          `${key}.xdp_mode: hw is not served, programs are loaded for the host and not for the device; write drv or skb`,
        );
      if (asked !== "drv" && asked !== "skb")
        throw new SyntaxError(`${key}.xdp_mode: must be one of skb, drv, hw, is ${asked}`);
      return [name, asked === "drv" ? "native" : "skb"];
    }),
  );
}
