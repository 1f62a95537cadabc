import type { BytecodeIntent, BytecodePlace, GlobalWish, InterfaceWish } from "@bpfleet/features";
import { notSelectedReason, type BytecodeSource, type PlanProblem } from "@bpfleet/kernel";
import type { Origin } from "@bpfleet/base";
import { cgroupAnnotation } from "../../core/pod/schema.ts";
import { credentialKeys, secretData, type Secret } from "../../core/secret/schema.ts";
import type { Lowered, Parsed, ResourceView } from "../../kind.ts";
import { matchesLabels, whyNoMatch } from "../../labels/label-selector.ts";
import { IssueList } from "../../schema/admit.ts";
import { joinPointer } from "../../yaml/places.ts";
import { parseBytecode, pullSecretNamespaces } from "./bytecode.ts";
import { cgroupHooks, probeHooks, proceedCodes } from "./program-types.ts";
import type { ConfigSpec, ProgramConfig } from "./spec.ts";

/** With the value `keep`: what runs goes on when the image policy comes to refuse it. */
export const onRevokeAnnotation = "bpfleet.io/on-revoke";

/** What a config asks of the bytecode feature; nothing where the node is not selected. */
export function lowerConfig(parsed: Parsed<ProgramConfig>, view: ResourceView): Lowered {
  const { spec } = parsed.object;
  const originOf = (path: string): Origin => ({ object: parsed.ref, path, position: parsed.positionOf(path) });
  const problems: PlanProblem[] = [];
  const tell = (severity: PlanProblem["severity"], reason: string, path: string, message: string): void => {
    problems.push({ origin: originOf(path), reason, message, severity });
  };
  const why = whyNoMatch(spec.nodeselector, view.node.labels);
  if (why !== undefined) {
    tell("note", notSelectedReason, "/spec/nodeselector", `node ${view.node.name} is not selected: ${why}`);
    return { intents: [], problems };
  }
  const source = parseBytecode(spec.bytecode, new IssueList(() => undefined));
  const at = placeOf(spec, view, tell);
  if (source === undefined || at === undefined) return { intents: [], problems };
  const network = spec.attachpoint.networkmultiattach;
  const intent: BytecodeIntent = {
    feature: "bytecode",
    origin: originOf("/spec"),
    source: withSecret(source, view, tell),
    section: spec.name,
    at,
    priority: network?.priority ?? spec.priority ?? 0,
    proceedOn: at.hook === "xdp" || at.hook === "tc" ? proceedCodes(at.hook, network?.proceedon ?? []) : [],
    globals: Object.fromEntries(
      Object.entries(spec.globals ?? {}).map(([name, value]) => [
        name,
        { value: value as GlobalWish["value"], origin: originOf(joinPointer("/spec/globals", name)) },
      ]),
    ),
    sharedMaps: Object.fromEntries(
      Object.entries(spec.sharedmaps ?? {}).map(([name, config]) => [
        name,
        { config, origin: originOf(joinPointer("/spec/sharedmaps", name)) },
      ]),
    ),
    ...(parsed.object.metadata.annotations?.[onRevokeAnnotation] === "keep" && { keepsRevoked: true }),
  };
  return { intents: [intent], problems };
}

type Tell = (severity: PlanProblem["severity"], reason: string, path: string, message: string) => void;

function placeOf({ type, attachpoint }: ConfigSpec, view: ResourceView, tell: Tell): BytecodePlace | undefined {
  const { networkmultiattach: network, singleattach: single, cgroup } = attachpoint;
  if (type === "XDP") return { hook: "xdp", interfaces: interfacesOf(attachpoint, view) };
  if (type === "TC")
    return {
      hook: "tc",
      interfaces: interfacesOf(attachpoint, view),
      direction: network?.direction === "EGRESS" ? "egress" : "ingress",
    };
  if (cgroup !== undefined) return cgroupPlace(type, cgroup, view, tell);
  if (single === undefined) return undefined;
  const { name, binary = "", offset = 0 } = single;
  if (type === "TRACEPOINT") return { hook: "tracepoint", name };
  if (type === "RAW_TRACEPOINT") return { hook: "raw_tracepoint", name };
  const hook = probeHooks[type];
  switch (hook) {
    case "kprobe":
    case "kretprobe":
      return { hook, function: name, offset };
    case "uprobe":
    case "uretprobe":
      return { hook, binary, function: name, offset };
    case "fentry":
    case "fexit":
      return { hook, function: name };
    default:
      return undefined;
  }
}

function interfacesOf(attachpoint: ConfigSpec["attachpoint"], { node }: ResourceView): InterfaceWish {
  const network = attachpoint.networkmultiattach;
  const name = attachpoint.interface ?? network?.interface ?? network?.interfaceselector?.interface;
  return name === undefined ? { primary: true, addresses: node.internalIps } : { names: [name] };
}

function cgroupPlace(
  type: ConfigSpec["type"],
  { namespace, podselector, hook }: NonNullable<ConfigSpec["attachpoint"]["cgroup"]>,
  view: ResourceView,
  tell: Tell,
): BytecodePlace {
  const path = "/spec/attachpoint/cgroup";
  const chosen = view
    .list("", "Pod", namespace)
    .filter(({ object }) => podselector === undefined || matchesLabels(podselector, object.metadata.labels ?? {}))
    .toSorted((a, b) => (a.ref.name < b.ref.name ? -1 : 1));
  const pods = chosen.flatMap(({ object, ref }) => {
    const cgroup = object.metadata.annotations?.[cgroupAnnotation];
    if (cgroup !== undefined) return [{ pod: ref.name, namespace, path: cgroup }];
    const message = `pod ${namespace}/${ref.name} is left out: it has no annotation ${cgroupAnnotation}`;
    tell("note", "PodWithoutCgroup", path, message);
    return [];
  });
  if (pods.length === 0) {
    const message = `no pod of namespace ${namespace} that is asked for has a cgroup; it runs as soon as there is one`;
    tell("waiting", "NoPods", path, message);
  }
  return { hook: "cgroup", attach: hook ?? cgroupHooks[type]?.[0] ?? "", pods };
}

/** The Secret that is there, with its namespace. */
function withSecret(source: BytecodeSource, view: ResourceView, tell: Tell): BytecodeSource {
  if (source.from === "file" || source.pullSecret === undefined) return source;
  const name = source.pullSecret;
  const find = (namespace: string) => view.find({ group: "", kind: "Secret", namespace, name });
  const namespace = pullSecretNamespaces.find((candidate) => find(candidate) !== undefined);
  const data = namespace === undefined ? {} : secretData(find(namespace)?.object as Secret);
  if (namespace !== undefined && !credentialKeys.some((key) => key in data)) {
    const message = `Secret ${namespace}/${name} has no key ${credentialKeys[0]}; the image is pulled without it; make it with \`kubectl create secret docker-registry\``;
    tell("note", "SecretWithoutCredentials", "/spec/bytecode/image/imagepullsecret", message);
  }
  if (namespace === undefined) {
    const message = `Secret ${pullSecretNamespaces[0]}/${name} does not exist; the image is pulled without it, and again as soon as it does`;
    tell("note", "SecretNotFound", "/spec/bytecode/image/imagepullsecret", message);
  }
  return { ...source, pullSecret: `${namespace ?? pullSecretNamespaces[0]}/${name}` };
}
