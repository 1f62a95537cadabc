import { hostname } from "node:os";
import { errorText, readOptions, renderOptions, type OptionRow } from "@bpfleet/base";
import type { DaemonOptions, LogOptions, MetricsAddress } from "@bpfleet/daemon";
import {
  failSafeGrammar,
  features,
  hostAccesses,
  parseSeconds,
  readFailSafePorts,
  type HostAccess,
} from "@bpfleet/features";
import { readProxies, usualImagePlaces, type Proxies } from "@bpfleet/oci/local";
import { join } from "node:path";

export const version = "0.1.0";

/** Where the build puts the BPF objects of this checkout, or of the image. */
const builtObjects = join(import.meta.dirname, "../../../build/bpf/objects.json");
const logLevels = ["trace", "debug", "info", "warn", "error", "silent"] as const;

const table = [
  {
    flag: "node-name",
    env: ["BPFLEET_NODE_NAME", "NODENAME"],
    value: "name",
    help: "name of this node; else the host's",
  },
  {
    flag: "socket",
    env: ["BPFLEET_SOCKET"],
    value: "path",
    usual: "/run/bpfd/bpfleet.sock",
    help: "socket of the API, which ebpfctl asks",
  },
  {
    flag: "plan-socket",
    env: ["BPFLEET_PLAN_SOCKET"],
    value: "path",
    help: "socket on which the agent hands in plans; else beside the other, with -plan",
  },
  {
    flag: "tls-dir",
    env: ["BPFLEET_TLS_DIR"],
    value: "directory",
    usual: "/etc/bpfleet/tls",
    help: "tls.crt, tls.key and ca.crt; read again when they change",
  },
  {
    flag: "agent-group",
    env: ["BPFLEET_AGENT_GROUP"],
    value: "gid",
    help: "group whose processes may open the plan socket; else this user alone",
  },
  {
    flag: "state",
    env: ["BPFLEET_STATE"],
    value: "directory",
    usual: "/var/lib/bpfleet",
    help: "what must survive a reboot: the last plan",
  },
  { flag: "bpffs", env: ["BPFLEET_BPFFS"], value: "directory", usual: "/run/bpfd/fs", help: "file system of the pins" },
  {
    flag: "mount-bpffs",
    env: ["BPFLEET_MOUNT_BPFFS"],
    help: "mount a bpffs there where none is",
  },
  {
    flag: "objects",
    env: ["BPFLEET_OBJECTS"],
    value: "file",
    help: "list of the BPF objects; else the built ones",
  },
  {
    flag: "metrics-addr",
    env: ["BPFLEET_METRICS_ADDR"],
    value: "address",
    help: "serve Prometheus metrics at /metrics there: :9091, 127.0.0.1:9091 or unix:PATH",
  },
  {
    flag: "registries",
    env: ["BPFLEET_REGISTRIES"],
    value: "directory",
    usual: usualImagePlaces.mirrors,
    help: "where images are to be had: <host>/hosts.toml",
  },
  {
    flag: "image-policy",
    env: ["BPFLEET_IMAGE_POLICY"],
    value: "file",
    help: `who must have signed images; else ${usualImagePlaces.policy} where that is there`,
  },
  {
    flag: "maps-group",
    env: ["BPFLEET_MAPS_GROUP"],
    value: "gid",
    help: "group that may open the maps of brought programs",
  },
  { flag: "maps-mode", env: ["BPFLEET_MAPS_MODE"], value: "mode", help: "mode of the pins of these maps, as 0640" },
  {
    flag: "bpfd-config",
    env: ["BPFLEET_BPFD_CONFIG"],
    value: "file",
    help: "a bpfd.toml: the XDP mode of each interface",
  },
  { flag: "legacy-tc", env: ["BPFLEET_LEGACY_TC"], help: "attach tc programs by cls_bpf even where there is TCX" },
  {
    flag: "host-access",
    env: ["BPFLEET_HOST_ACCESS"],
    value: "word",
    usual: "auto",
    help: "whether this node reaches its pods whatever policies say: auto and always do, never leaves it to them",
  },
  {
    flag: "fail-safe-ports",
    env: ["BPFLEET_FAIL_SAFE_PORTS"],
    value: "ports",
    usual: "in:usual;out:usual",
    help: "ports of this node itself that no policy closes: in:usual,tcp/8443;out:usual has one more open",
  },
  {
    flag: "dns-seconds",
    env: ["BPFLEET_DNS_SECONDS"],
    value: "seconds",
    usual: "0",
    help: "names of DNS count at least so long, however short the TTL is",
  },
  {
    flag: "grace-seconds",
    env: ["BPFLEET_GRACE_SECONDS"],
    value: "seconds",
    usual: "60",
    help: "connections older than the first policy of a pod go on for so long from either end",
  },
  { flag: "log-level", env: ["LOG_LEVEL"], value: "level", usual: "info", help: `one of ${logLevels.join(", ")}` },
] as const satisfies readonly OptionRow[];

export const helpText = `bpfd: keeps the kernel of this node as the agent plans it, over restarts and without the agent.

Usage: bpfd [flags]

${renderOptions(table)}
  -h, --help  print this

Registries are reached as HTTPS_PROXY, HTTP_PROXY and NO_PROXY say. Ends with SIGTERM; everything stays in force then.
`;

export type DaemonRun =
  | { readonly is: "help" }
  | { readonly is: "mistakes"; readonly mistakes: readonly string[] }
  | {
      readonly is: "run";
      readonly options: DaemonOptions;
      /** To be read before the daemon starts. */
      readonly bpfdConfig: string | undefined;
    };

/** What argv and the environment ask for; all mistakes at once. */
export function parseDaemonRun(argv: readonly string[], env: Readonly<Record<string, string | undefined>>): DaemonRun {
  const { values, mistakes: found, asksHelp } = readOptions(table, argv, env);
  if (asksHelp) return { is: "help" };
  const mistakes = [...found];
  const read = <T>(flag: keyof typeof values, parse: (text: string) => T | undefined, help: string): T | undefined => {
    const text = values[flag];
    const value = text === undefined ? undefined : parse(text);
    if (text !== undefined && value === undefined) mistakes.push(`read --${flag} ${JSON.stringify(text)}: ${help}`);
    return value;
  };
  const level = read("log-level", parseLevel, `give one of ${logLevels.join(", ")}`);
  const metrics = read("metrics-addr", parseAddress, "give :9091, 127.0.0.1:9091, [::1]:9091 or unix:PATH");
  const agentGroup = read("agent-group", parseGroup, "give the number of a group");
  const mapsGroup = read("maps-group", parseGroup, "give the number of a group");
  const mapsMode = read("maps-mode", parseMode, "give an octal mode such as 0640");
  const hostAccess = read("host-access", parseHostAccess, `give one of ${hostAccesses.join(", ")}`);
  const nameSeconds = read("dns-seconds", parseSeconds, "give whole seconds, 999999 at most");
  const graceSeconds = read("grace-seconds", parseSeconds, "give whole seconds, 999999 at most");
  const failSafe = readFailSafePorts(values["fail-safe-ports"] ?? "in:usual");
  for (const mistake of failSafe.mistakes) mistakes.push(`read --fail-safe-ports: ${mistake}; ${failSafeGrammar}`);
  let proxies: Proxies | undefined;
  try {
    proxies = readProxies(env);
  } catch (error) {
    mistakes.push(errorText(error));
  }
  if (mistakes.length > 0) return { is: "mistakes", mistakes };
  const { socket = "", state = "", bpffs = "", "tls-dir": tls = "" } = values;
  const policy = values["image-policy"];
  return {
    is: "run",
    bpfdConfig: values["bpfd-config"],
    options: {
      nodeName: values["node-name"] ?? hostname(),
      version,
      bpffs,
      state,
      socket,
      objects: values.objects ?? builtObjects,
      features,
      metrics,
      log: { level: level ?? "info" },
      mountBpffs: isTrue(values["mount-bpffs"]),
      legacyTc: isTrue(values["legacy-tc"]),
      policySettings: { hostAccess, nameSeconds, graceSeconds, failSafePorts: failSafe.ports },
      bytecode: {
        mirrors: values.registries,
        proxies,
        policy: policy ?? usualImagePlaces.policy,
        mayLackPolicy: policy === undefined,
      },
      pinAccess: { group: mapsGroup, mode: mapsMode },
      agent: {
        socket: values["plan-socket"] ?? `${socket.replace(/\.sock$/, "")}-plan.sock`,
        tls: { cert: join(tls, "tls.crt"), key: join(tls, "tls.key"), ca: join(tls, "ca.crt") },
        group: agentGroup,
      },
    },
  };
}

function isTrue(text: string | undefined): boolean {
  return text === "true" || text === "1";
}

function parseLevel(text: string): LogOptions["level"] | undefined {
  return logLevels.find((level) => level === text.toLowerCase());
}

function parseHostAccess(text: string): HostAccess | undefined {
  return hostAccesses.find((word) => word === text);
}

function parseGroup(text: string): number | undefined {
  return /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

function parseMode(text: string): number | undefined {
  return /^0?[0-7]{3}$/.test(text) ? Number.parseInt(text, 8) : undefined;
}

/** A port alone is one of every address: in a pod others than this node scrape it. */
function parseAddress(text: string): MetricsAddress | undefined {
  if (text.startsWith("unix:")) return { unix: text.slice("unix:".length) };
  const [, six, four = six, port] = /^(?:\[([^\]]+)\]|([^:[\]]+))?:(\d{1,5})$/.exec(text) ?? [];
  return port === undefined || Number(port) > 65_535 ? undefined : { port: Number(port), host: four ?? "::" };
}
