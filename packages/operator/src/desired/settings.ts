import type { Issue, Result } from "@bpfleet/base";
import { errorText, ok, refused } from "@bpfleet/base";
import { failSafeGrammar, hostAccesses, parseSeconds, readFailSafePorts, type HostAccess } from "@bpfleet/kernel";
import { didYouMean } from "@bpfleet/kinds";
import { parseBpfdConfig } from "@bpfleet/loader/config";
import { ports } from "./names.ts";
import {
  parseBindAddress,
  parseFolder,
  parseNodeSelector,
  parsePolicyText,
  parsePullSecrets,
  parseTimeoutMs,
  parseTolerations,
  type Complain,
  type Toleration,
} from "./pod-settings.ts";
import { parseResources, type Resources } from "./resource-settings.ts";

export const logLevels = ["trace", "debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/** Whether policies of a kind are enforced whose own agents may run here too. */
const enforcements = ["auto", "always", "never"] as const;
export type Enforcement = (typeof enforcements)[number];

/** Pods that do not start when nobody says that their policy is in force. */
const failurePolicies = ["selected", "never", "always"] as const;

export interface CniSettings {
  readonly isOn: boolean;
  readonly failurePolicy: (typeof failurePolicies)[number];
  readonly timeoutMs: number;
  /** Of the host: where the container runtime reads network configurations, and finds plug-ins. */
  readonly confDir: string;
  readonly binDir: string;
}

/** What `bpfd-config` says, complete. */
export interface Settings {
  readonly daemonImage: string;
  readonly agentImage: string;
  readonly imagePullPolicy: "Always" | "IfNotPresent" | "Never" | undefined;
  readonly imagePullSecrets: readonly string[];
  readonly daemonLogLevel: LogLevel;
  readonly agentLogLevel: LogLevel;
  readonly bpfdToml: string | undefined;
  /** Text of the policy of signatures; `undefined`: none is asked for. */
  readonly imagePolicy: string | undefined;
  readonly raisesMemlock: boolean;
  /** Of the daemon, on the node's own addresses. */
  readonly metricsPort: number;
  /** Of the node; `undefined`: all that it has. */
  readonly metricsAddress: string | undefined;
  readonly tolerations: readonly Toleration[];
  /** Labels of the nodes that are meant, beside that of Linux. */
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly daemonResources: Resources;
  readonly agentResources: Resources;
  /** Of the plug-in by which pods wait for their policy. */
  readonly cni: CniSettings;
  /** Whether a node reaches its pods whatever policies say. */
  readonly hostAccess: HostAccess;
  /** Ports of a node that no policy closes, as they are written; `undefined`: as is usual. */
  readonly failSafePorts: string | undefined;
  /** `undefined`: as is usual. */
  readonly dnsSeconds: number | undefined;
  readonly graceSeconds: number | undefined;
  readonly enforceCilium: Enforcement;
  readonly enforceCalico: Enforcement;
}

/** What stands for keys that the ConfigMap does not have. */
export interface DefaultImages {
  readonly daemonImage: string;
  readonly agentImage: string;
}

/** Keys of the ConfigMap with what they say, for the reference and for the ConfigMap that is made. */
export const settingKeys = {
  "bpfd.image": "Image of the daemon.",
  "bpfd.agent.image": "Image of the agent.",
  "bpfd.log.level": `How much the daemon says: ${logLevels.join(", ")}.`,
  "bpfd.agent.log.level": "The same for the agent; as bpfd.log.level when left out.",
  "bpfd.toml":
    "How XDP programs are attached: [interfaces.NAME] with xdp_mode. [tls] and [grpc.endpoint] are without effect, since bpfd's gRPC API is that of a node without a cluster.",
  "bpfd.namespace": "Without effect; bpfd had it.",
  "bpfleet.image-pull-policy": "Always, IfNotPresent or Never.",
  "bpfleet.image-pull-secrets": "Names of Secrets in kube-system, with commas between them.",
  "bpfleet.image-policy": "Which signatures images of bytecode must have: the text of image-policy.yaml, keys in it.",
  "bpfleet.raise-memlock": "true on nodes with Linux before 5.11: the daemon may then raise RLIMIT_MEMLOCK.",
  "bpfleet.metrics-port": `Where the daemon of each node serves metrics: ${ports.daemonMetrics}, which Calico's Felix takes too if asked for metrics.`,
  "bpfleet.metrics-address":
    "The node's address on which the daemon serves metrics: all that it has when left out; 127.0.0.1 closes them to other machines.",
  "bpfleet.tolerations":
    "Taints of nodes on which daemon and agent run all the same, as a pod has them; any when left out.",
  "bpfleet.node-selector":
    "Labels of the nodes on which they run; all with Linux when left out. What is in force on a node that is no longer meant stays so.",
  "bpfleet.daemon-resources": "Requests and limits of the daemon, as a container has them.",
  "bpfleet.agent-resources": "The same of the agent.",
  "bpfleet.cni":
    "on: pods wait at their start until the policies that select them are in force, by a plug-in at the end of the node's network configuration. off takes it out again.",
  "bpfleet.cni-failure-policy":
    "Pods that do not start while nobody says that their policy is in force: selected (those that a policy selects, or may select), never (all start), always (none does).",
  "bpfleet.cni-timeout-ms": "How long a pod waits at most, in milliseconds; 2000 when left out.",
  "bpfleet.cni-conf-dir":
    "Where the container runtime of the nodes reads network configurations; /etc/cni/net.d when left out.",
  "bpfleet.cni-bin-dir": "Where it finds plug-ins; /opt/cni/bin when left out.",
  "bpfleet.host-access":
    "Whether a node reaches its own pods whatever policies say: auto and always do, never leaves it to the policies, probes of the kubelet too; auto when left out.",
  "bpfleet.fail-safe-ports":
    "Ports of a node itself that no policy closes: in:usual,tcp/8443;out:usual has one more open than is usual; see the guide of policies. As usual when left out.",
  "bpfleet.dns-seconds":
    "Addresses count under names of DNS (toFQDNs) at least so many seconds, however short the TTL is; 0 when left out.",
  "bpfleet.grace-seconds":
    "For so many seconds after the first packet of a pod that a policy selects, connections that are older than it go on from either end; 60 when left out.",
  "bpfleet.enforce.cilium": "Enforce CiliumNetworkPolicy: auto (where Cilium's own agents do not run), always, never.",
  "bpfleet.enforce.calico": "Follow FelixConfiguration: auto (where Calico's own agents do not run), always, never.",
} as const;
type SettingKey = keyof typeof settingKeys;

/** Policies hold on every node, also on those that are being drained or are out of memory. */
const anyTaint: readonly Toleration[] = [{ operator: "Exists" }];
/** No limit of memory: the kernel charges maps to whoever made them, and what people declare decides of their size. */
const daemonResources: Resources = { requests: { cpu: "50m", memory: "96Mi" } };
const agentResources: Resources = { requests: { cpu: "50m", memory: "96Mi" }, limits: { memory: "256Mi" } };

const pullPolicies = ["Always", "IfNotPresent", "Never"] as const;

/** Reads the `data` of the ConfigMap; all mistakes at once. Unknown keys are warned of and left alone. */
export function parseSettings(data: Readonly<Record<string, string>>, images: DefaultImages): Result<Settings> {
  const issues: Issue[] = [];
  const read = (key: SettingKey): string | undefined => data[key]?.trim() || undefined;
  const word = <W extends string>(key: SettingKey, words: readonly W[], usual: W): W => {
    const text = read(key);
    const known = words.find((each) => each === text);
    if (text !== undefined && known === undefined)
      issues.push(issueOf(key, "enum", `must be one of ${words.join(", ")}, is ${JSON.stringify(text)}`, "error"));
    return known ?? usual;
  };
  const image = (key: SettingKey, usual: string): string => {
    const text = read(key) ?? usual;
    if (/\s/.test(text))
      issues.push(issueOf(key, "format", `must be the name of an image, is ${JSON.stringify(text)}`, "error"));
    return text;
  };
  // RUST_LOG, which the original takes, may go on with levels of modules.
  const level = (key: SettingKey, usual: LogLevel): LogLevel => {
    const [first = ""] = (read(key) ?? "").toLowerCase().split(",");
    const known = logLevels.find(
      (each) => each === (first === "off" ? "silent" : first === "warning" ? "warn" : first),
    );
    if (first !== "" && known === undefined)
      issues.push(issueOf(key, "enum", `must be one of ${logLevels.join(", ")}, is ${JSON.stringify(first)}`, "error"));
    return known ?? usual;
  };
  const port = (key: SettingKey, usual: number): number => {
    const text = read(key) ?? String(usual);
    const isPort = /^[1-9]\d{0,4}$/.test(text) && Number(text) <= 65_535 && Number(text) !== ports.agent;
    if (!isPort) {
      const message = `must be a port other than the agent's ${ports.agent}, is ${JSON.stringify(text)}`;
      issues.push(issueOf(key, "format", message, "error"));
    }
    return isPort ? Number(text) : usual;
  };
  const structure = <V>(key: SettingKey, parse: (text: string, complain: Complain) => V | undefined): V | undefined => {
    const text = read(key);
    return text === undefined
      ? undefined
      : parse(text, (message) => issues.push(issueOf(key, "format", message, "error")));
  };
  for (const key of Object.keys(data)) {
    if (Object.hasOwn(settingKeys, key)) continue;
    issues.push(
      issueOf(
        key,
        "unknown-field",
        `unknown key, without effect${didYouMean(key, Object.keys(settingKeys))}`,
        "warning",
      ),
    );
  }
  if (/^\s*\[(?:tls|grpc\b)/m.test(data["bpfd.toml"] ?? "")) {
    const message =
      "[tls] and [grpc.endpoint] are without effect in a cluster: its programs are declared as BpfProgramConfig; `ebpfctl up --bpfd-config` serves bpfd's gRPC API on a node without one";
    issues.push(issueOf("bpfd.toml", "ignored", message, "warning"));
  }
  structure("bpfd.toml", (text, complain) => {
    try {
      return parseBpfdConfig(text);
    } catch (error) {
      // What a file that is no TOML is told goes on with the lines around the place.
      const [reason = ""] = errorText(error).split("\n");
      complain(reason);
      return undefined;
    }
  });
  structure("bpfleet.image-policy", parsePolicyText);
  const daemonLogLevel = level("bpfd.log.level", "info");
  const settings: Settings = {
    daemonImage: image("bpfd.image", images.daemonImage),
    agentImage: image("bpfd.agent.image", images.agentImage),
    imagePullPolicy:
      read("bpfleet.image-pull-policy") === undefined
        ? undefined
        : word("bpfleet.image-pull-policy", pullPolicies, "IfNotPresent"),
    imagePullSecrets: structure("bpfleet.image-pull-secrets", parsePullSecrets) ?? [],
    daemonLogLevel,
    agentLogLevel: level("bpfd.agent.log.level", daemonLogLevel),
    bpfdToml: data["bpfd.toml"]?.trim() === "" ? undefined : data["bpfd.toml"],
    imagePolicy: data["bpfleet.image-policy"]?.trim() === "" ? undefined : data["bpfleet.image-policy"],
    raisesMemlock: word("bpfleet.raise-memlock", ["true", "false"], "false") === "true",
    metricsPort: port("bpfleet.metrics-port", ports.daemonMetrics),
    metricsAddress: structure("bpfleet.metrics-address", parseBindAddress),
    tolerations: structure("bpfleet.tolerations", parseTolerations) ?? anyTaint,
    nodeSelector: structure("bpfleet.node-selector", parseNodeSelector) ?? {},
    daemonResources: structure("bpfleet.daemon-resources", parseResources) ?? daemonResources,
    agentResources: structure("bpfleet.agent-resources", parseResources) ?? agentResources,
    cni: {
      isOn: word("bpfleet.cni", ["on", "off"], "on") === "on",
      failurePolicy: word("bpfleet.cni-failure-policy", failurePolicies, "selected"),
      timeoutMs: structure("bpfleet.cni-timeout-ms", parseTimeoutMs) ?? 2000,
      confDir: structure("bpfleet.cni-conf-dir", parseFolder) ?? "/etc/cni/net.d",
      binDir: structure("bpfleet.cni-bin-dir", parseFolder) ?? "/opt/cni/bin",
    },
    hostAccess: word("bpfleet.host-access", hostAccesses, "auto"),
    failSafePorts: structure("bpfleet.fail-safe-ports", checkFailSafePorts),
    dnsSeconds: structure("bpfleet.dns-seconds", readSeconds),
    graceSeconds: structure("bpfleet.grace-seconds", readSeconds),
    enforceCilium: word("bpfleet.enforce.cilium", enforcements, "auto"),
    enforceCalico: word("bpfleet.enforce.calico", enforcements, "auto"),
  };
  const { confDir, binDir } = settings.cni;
  if (confDir === binDir) {
    const message = `must be another folder than bpfleet.cni-conf-dir, is ${JSON.stringify(binDir)}`;
    issues.push(issueOf("bpfleet.cni-bin-dir", "format", message, "error"));
  }
  return issues.some(({ severity }) => severity === "error") ? refused(issues) : ok(settings, issues);
}

/** Of a cluster whose ConfigMap says nothing: only what the operator itself was given can be wrong with them. */
export function usualSettings(images: DefaultImages): Settings {
  const parsed = parseSettings({}, images);
  if (parsed.ok) return parsed.value;
  const why = parsed.issues.map(({ message }) => message).join("; ");
  throw new TypeError(`read the usual settings: ${why}; put right BPFD_IMG and BPFD_AGENT_IMG of the operator`);
}

function readSeconds(text: string, complain: Complain): number | undefined {
  const seconds = parseSeconds(text.trim());
  if (seconds === undefined) complain(`must be whole seconds, 999999 at most, is ${JSON.stringify(text)}`);
  return seconds;
}

function checkFailSafePorts(text: string, complain: Complain): string {
  const { mistakes } = readFailSafePorts(text);
  for (const mistake of mistakes) complain(`${mistake}; ${failSafeGrammar}`);
  return text;
}

function issueOf(key: string, code: string, message: string, severity: Issue["severity"]): Issue {
  return {
    path: `/data/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`,
    code,
    message: `${key}: ${message}`,
    severity,
  };
}
