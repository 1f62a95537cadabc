import { listNames } from "@bpfleet/kinds";
import type { AnyObject } from "@bpfleet/kube";
import { configMapName, daemonSetName } from "../desired/names.ts";
import type { NodeProgramHeader } from "../nodes/node-programs.ts";
import type { NodeRegister } from "../nodes/node-register.ts";
import { nodeOf } from "../nodes/orphans.ts";

interface PodOwner {
  readonly template?: { readonly spec?: { readonly nodeSelector?: Readonly<Record<string, string>> } };
}

/** Why a DaemonSet has no pod on a node that is there; `undefined` where it means the node. */
export function whyNoAgent(set: AnyObject | undefined, { metadata }: AnyObject): string | undefined {
  if (set === undefined) return `there is no DaemonSet ${daemonSetName}`;
  const { nodeSelector = {} } = (set["spec"] as PodOwner | undefined)?.template?.spec ?? {};
  const missing = Object.entries(nodeSelector).find(([label, value]) => metadata.labels?.[label] !== value);
  return missing === undefined ? undefined : `DaemonSet ${daemonSetName} asks for ${missing.join("=")}`;
}

/** What is said of objects that wait for agents where none is to run; `undefined` where there are none. */
export function tellUnattended(
  programs: readonly NodeProgramHeader[],
  nodes: Pick<NodeRegister, "has" | "find" | "list">,
  set: AnyObject | undefined,
): string | undefined {
  const known = {
    has: (name: string) => nodes.has(name),
    names: () => nodes.list().map(({ metadata }) => metadata.name),
  };
  const left = programs.flatMap((program) => {
    const node = nodes.find(nodeOf(program, known) ?? "");
    const why = node === undefined ? undefined : whyNoAgent(set, node);
    return node === undefined || why === undefined
      ? []
      : [{ node: node.metadata.name, why, made: program.metadata.name }];
  });
  const [first] = left;
  if (first === undefined) return undefined;
  const [where, what] = [left.map(({ node }) => node), left.map(({ made }) => made)].map((names) => listNames(names));
  return `no agent is to run on ${where} (${first.why}), so nobody unloads it there: have ConfigMap ${configMapName} mean these nodes until it is gone, or run \`ebpfctl cleanup\` there and remove the finalizers of ${what}`;
}
