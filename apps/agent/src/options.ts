import { hostname } from "node:os";
import { join } from "node:path";
import { readOptions, renderOptions, type OptionRow } from "@bpfleet/base";
import type { TlsPaths } from "@bpfleet/daemon/client";

export const version = "0.1.0";

export const logLevels = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

const table = [
  {
    flag: "node-name",
    env: ["BPFLEET_NODE_NAME", "NODENAME"],
    value: "name",
    help: "name of this node, as Kubernetes has it; else the host's",
  },
  {
    flag: "socket",
    env: ["BPFLEET_SOCKET"],
    value: "path",
    usual: "/run/bpfd/bpfleet.sock",
    help: "socket of the daemon's API; that for plans lies beside it",
  },
  {
    flag: "plan-socket",
    env: ["BPFLEET_PLAN_SOCKET"],
    value: "path",
    help: "socket on which the daemon takes plans; else beside the other, with -plan",
  },
  {
    flag: "agent-socket",
    env: ["BPFLEET_AGENT_SOCKET"],
    value: "path",
    help: "socket on which ebpfctl asks this agent; else beside that of the daemon, with -agent",
  },
  {
    flag: "tls-dir",
    env: ["BPFLEET_TLS_DIR"],
    value: "directory",
    usual: "/etc/bpfleet/tls",
    help: "tls.crt, tls.key and ca.crt; read again when they change",
  },
  {
    flag: "store",
    env: ["BPFLEET_STORE"],
    value: "directory",
    help: "serve the objects of this directory instead of those of a cluster",
  },
  {
    flag: "state",
    env: ["BPFLEET_STATE"],
    value: "directory",
    usual: "/var/lib/bpfleet",
    help: "status of the objects; only with --store",
  },
  {
    flag: "kubeconfig",
    env: [],
    value: "file",
    help: "how to reach the cluster; else as KUBECONFIG says, or as its pod",
  },
  {
    flag: "follow-cilium",
    env: ["BPFLEET_FOLLOW_CILIUM"],
    help: "serve the policy kinds of Cilium too",
  },
  {
    flag: "follow-calico",
    env: ["BPFLEET_FOLLOW_CALICO"],
    help: "serve the kinds of Calico too",
  },
  {
    flag: "health-addr",
    env: ["BPFLEET_HEALTH_ADDR"],
    value: "address",
    help: "serve /healthz, /readyz and /metrics there: :9092 or 127.0.0.1:9092",
  },
  { flag: "log-level", env: ["LOG_LEVEL"], value: "level", usual: "info", help: `one of ${logLevels.join(", ")}` },
] as const satisfies readonly OptionRow[];

export const helpText = `bpfd-agent: plans what this node does of all that is declared, and tells what became of it.

Usage: bpfd-agent [flags]

${renderOptions(table)}
  -h, --help  print this

Ends with SIGTERM; the daemon keeps everything in force then.
`;

export interface AgentConfig {
  readonly nodeName: string;
  readonly planSocket: string;
  readonly tls: TlsPaths;
  /** Where ebpfctl asks what became of objects, and what is planned. */
  readonly socket: string;
  /** A directory of objects and one for their status; else a cluster. */
  readonly directory: { readonly store: string; readonly state: string } | undefined;
  readonly kubeconfig: string | undefined;
  readonly followsCilium: boolean;
  readonly followsCalico: boolean;
  readonly health: { readonly host?: string | undefined; readonly port: number } | undefined;
  readonly logLevel: LogLevel;
}

export type AgentRun =
  | { readonly is: "help" }
  | { readonly is: "mistakes"; readonly mistakes: readonly string[] }
  | { readonly is: "run"; readonly config: AgentConfig };

/** What argv and the environment ask for; all mistakes at once. */
export function parseAgentRun(argv: readonly string[], env: Readonly<Record<string, string | undefined>>): AgentRun {
  const { values, mistakes: found, asksHelp } = readOptions(table, argv, env);
  if (asksHelp) return { is: "help" };
  const mistakes = [...found];
  const level = logLevels.find((each) => each === values["log-level"]?.toLowerCase());
  if (level === undefined) mistakes.push(`read --log-level: give one of ${logLevels.join(", ")}`);
  const health = parseAddress(values["health-addr"]);
  if (values["health-addr"] !== undefined && health === undefined)
    mistakes.push("read --health-addr: give :9092, 127.0.0.1:9092 or [::1]:9092");
  const { socket = "", state = "", store, "tls-dir": tls = "" } = values;
  if (mistakes.length > 0 || level === undefined) return { is: "mistakes", mistakes };
  return {
    is: "run",
    config: {
      nodeName: values["node-name"] ?? hostname(),
      planSocket: values["plan-socket"] ?? `${socket.replace(/\.sock$/, "")}-plan.sock`,
      tls: { cert: join(tls, "tls.crt"), key: join(tls, "tls.key"), ca: join(tls, "ca.crt") },
      socket: values["agent-socket"] ?? `${socket.replace(/\.sock$/, "")}-agent.sock`,
      directory: store === undefined ? undefined : { store, state },
      kubeconfig: values.kubeconfig,
      followsCilium: isTrue(values["follow-cilium"]),
      followsCalico: isTrue(values["follow-calico"]),
      health,
      logLevel: level,
    },
  };
}

function isTrue(text: string | undefined): boolean {
  return text === "true" || text === "1";
}

function parseAddress(text: string | undefined): AgentConfig["health"] {
  const [, six, four = six, port] = /^(?:\[([^\]]+)\]|([^:[\]]+))?:(\d{1,5})$/.exec(text ?? "") ?? [];
  return port === undefined || Number(port) > 65_535 ? undefined : { port: Number(port), host: four };
}
