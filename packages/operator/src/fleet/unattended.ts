import { listNames } from "@bpfleet/kinds";
import type { AnyObject } from "@bpfleet/kube";
import { configMapName, daemonSetName } from "../desired/names.ts";
import type { NodeProgramHeader } from "../nodes/node-programs.ts";
import type { KnownNode, NodeRegister } from "../nodes/node-register.ts";
import { nodeOf } from "../nodes/orphans.ts";
import { isTolerated, type Toleration } from "./taints.ts";

interface PodOwner {
  readonly template?: {
    readonly spec?: {
      readonly nodeSelector?: Readonly<Record<string, string>>;
      readonly tolerations?: readonly Toleration[];
    };
  };
}

/** Why nobody comes to unload something on a node that is there. */
export interface NoAgent {
  readonly cause: "meant" | "tolerated" | "silent";
  readonly why: string;
}

/** Why a DaemonSet has no agent on a node that is there, or nobody knows of it; `undefined` where one runs or is to. */
export function whyNoAgent(set: AnyObject | undefined, node: KnownNode, hasPod: boolean): NoAgent | undefined {
  const { metadata, taints, isLost } = node;
  if (isLost) return { cause: "silent", why: "its kubelet is silent" };
  if (set === undefined) return { cause: "meant", why: `there is no DaemonSet ${daemonSetName}` };
  const { nodeSelector = {}, tolerations = [] } = (set["spec"] as PodOwner | undefined)?.template?.spec ?? {};
  const missing = Object.entries(nodeSelector).find(([label, value]) => metadata.labels?.[label] !== value);
  if (missing !== undefined) return { cause: "meant", why: `DaemonSet ${daemonSetName} asks for ${missing.join("=")}` };
  const refused = taints.find(
    // A pod that is there before the taint stays, but for one that ends what runs.
    (taint) => !isTolerated(taint, tolerations) && (taint.effect === "NoExecute" || !hasPod),
  );
  if (refused === undefined) return undefined;
  const { key, value = "", effect } = refused;
  return { cause: "tolerated", why: `taint ${key}${value === "" ? "" : `=${value}`}:${effect}` };
}

/** What is said of objects that wait for agents where none is to run; `undefined` where there are none. */
export function tellUnattended(
  programs: readonly NodeProgramHeader[],
  nodes: Pick<NodeRegister, "has" | "find" | "list">,
  set: AnyObject | undefined,
  hasPod: (node: string) => boolean,
): string | undefined {
  const known = {
    has: (name: string) => nodes.has(name),
    names: () => nodes.list().map(({ metadata }) => metadata.name),
  };
  const left = programs.flatMap((program) => {
    const node = nodes.find(nodeOf(program, known) ?? "");
    if (node === undefined) return [];
    const { name } = node.metadata;
    const without = whyNoAgent(set, node, hasPod(name));
    return without === undefined ? [] : [{ ...without, node: name, made: program.metadata.name }];
  });
  const silent = left.filter(({ cause }) => cause === "silent").map(({ node }) => node);
  const rest = left.filter(({ cause }) => cause !== "silent");
  const told = [
    ...(rest.length === 0 ? [] : [tellNotRun(rest)]),
    ...(silent.length === 0
      ? []
      : [`waits for ${listNames(silent)}, of which the kubelet is silent: delete the Node of what does not come back`]),
  ];
  return told.length === 0 ? undefined : told.join("; ");
}

function tellNotRun(left: readonly (NoAgent & { readonly node: string; readonly made: string })[]): string {
  const where = [...Map.groupBy(left, ({ why }) => why)].map(
    ([why, of]) => `${listNames(of.map(({ node }) => node))} (${why})`,
  );
  const verbs = { meant: "mean", tolerated: "tolerate" } as const;
  const helps = (["meant", "tolerated"] as const).filter((cause) => left.some((each) => each.cause === cause));
  const made = listNames(left.map((each) => each.made));
  return `no agent is to run on ${where.join(", ")}, so nobody unloads it there: have ConfigMap ${configMapName} ${helps
    .map((cause) => verbs[cause])
    .join(
      " and ",
    )} these nodes until it is gone, or run \`ebpfctl cleanup\` there and remove the finalizers of ${made}`;
}
