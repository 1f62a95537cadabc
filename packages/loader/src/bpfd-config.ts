import { parse } from "smol-toml";
import { layouts, type Layout } from "./layout.ts";

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
}

export interface TlsFiles {
  readonly caCert: string;
  readonly cert: string;
  readonly key: string;
}

/** Throws a SyntaxError that names the key. */
export function parseBpfdConfig(text: string): BpfdConfig {
  const file = parse(text) as Record<string, unknown>;
  const tls = file["tls"] === undefined ? undefined : table(file["tls"], "tls");
  const endpoint = table(table(file["grpc"], "grpc")["endpoint"], "grpc.endpoint");
  const loader = table(file["loader"], "loader");
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
  };
}

function table(value: unknown, key: string): Record<string, unknown> {
  if (value === undefined) return {};
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new SyntaxError(`${key}: must be a table`);
  return value as Record<string, unknown>;
}

function textOf(from: Record<string, unknown>, name: string, key: string, usual: string): string {
  const value = from[name] ?? usual;
  if (typeof value !== "string" || value === "") throw new SyntaxError(`${key}: must be text`);
  return value;
}
