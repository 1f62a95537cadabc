import type { MetricsAddress } from "@bpfleet/daemon";
import { Failure } from "../failure.ts";

/** `:9090`, `127.0.0.1:9090`, `[::1]:9090` or `unix:PATH`. */
export function parseMetricsAddress(text: string | undefined): MetricsAddress | undefined {
  if (text === undefined) return undefined;
  if (text.startsWith("unix:")) return { unix: text.slice("unix:".length) };
  const [, six, host = six, port] = /^(?:\[([^\]]+)\]|([^:[\]]+))?:(\d{1,5})$/.exec(text) ?? [];
  if (port === undefined || Number(port) > 65535) {
    throw new Failure(
      `invalid argument ${JSON.stringify(text)} for "--metrics-addr": give :9090, 127.0.0.1:9090, [::1]:9090 or unix:PATH`,
    );
  }
  return { port: Number(port), host };
}
