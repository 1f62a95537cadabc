import { hostname } from "node:os";
import type { Issue, Result } from "@bpfleet/base";
import { ok, refused } from "@bpfleet/base";
import { parseElection, type ElectionConfig } from "@bpfleet/kube";

export const logLevels = ["debug", "info", "warn", "error"] as const;

export interface Config {
  readonly election: ElectionConfig;
  readonly metrics: Address | undefined;
  readonly webhook: Address | undefined;
  readonly images: { readonly daemonImage: string; readonly agentImage: string };
  readonly logLevel: (typeof logLevels)[number];
}

export interface Address {
  readonly host?: string | undefined;
  readonly port: number;
}

/** Reads the environment of the operator; all mistakes at once. */
export function parseConfig(env: Readonly<Record<string, string | undefined>>): Result<Config> {
  const issues: Issue[] = [];
  const identity = env["POD_NAME"] || hostname();
  const namespace = env["POD_NAMESPACE"] || "kube-system";
  const election = parseElection(env, { namespace, name: "podconfigmap-controller-lock", identity });
  if (!election.ok) issues.push(...election.issues);
  const address = (name: string, usual: string): Address | undefined => {
    const text = env[name] ?? usual;
    if (text === "" || text === "0") return undefined;
    const [, host, port] = /^(?:\[?([^\]]*?)\]?)?:(\d{1,5})$/.exec(text) ?? [];
    if (port !== undefined && Number(port) <= 65_535)
      return { host: host === "" ? undefined : host, port: Number(port) };
    issues.push({
      path: name,
      code: "format",
      severity: "error",
      message: `read ${name}: ${text} is no address; write :8080 or 127.0.0.1:8080`,
    });
    return undefined;
  };
  const level = (env["LOG_LEVEL"] ?? "info").toLowerCase();
  const logLevel = logLevels.find((each) => each === level);
  if (logLevel === undefined)
    issues.push({
      path: "LOG_LEVEL",
      code: "enum",
      severity: "error",
      message: `read LOG_LEVEL: ${level} is none of ${logLevels.join(", ")}`,
    });
  const [metrics, webhook] = [address("METRICS_ADDR", ":8080"), address("WEBHOOK_ADDR", "")];
  if (issues.length > 0 || !election.ok) return refused(issues);
  return ok({
    election: election.value,
    metrics,
    webhook,
    images: {
      daemonImage: env["BPFD_IMG"] || "bpfd:latest",
      agentImage: env["BPFD_AGENT_IMG"] || "bpfd-agent:latest",
    },
    logLevel: logLevel ?? "info",
  });
}
