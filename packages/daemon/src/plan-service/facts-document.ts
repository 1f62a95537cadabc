import { KernelError } from "@bpfleet/base";
import type { NodeFacts } from "@bpfleet/kernel";
import type { HeldDocument, OutgoingItem } from "@bpfleet/wire";
import { outgoing } from "./protocol.ts";

/** Fields that hold one thing by name: each entry crosses alone. */
const recordFields = ["objects", "cgroups", "bytecode", "seenMaps", "earlierPlans", "endpoints"] as const;

/** Every interface, cgroup and program is an item: what changes on a node with a thousand pods is small. */
export function* factsItems(facts: NodeFacts): Generator<OutgoingItem> {
  const { interfaces, objects, cgroups, bytecode, seenMaps, earlierPlans, endpoints, ...rest } = facts;
  const records = { objects, cgroups, bytecode, seenMaps, earlierPlans, endpoints };
  const present = recordFields.filter((name) => records[name] !== undefined);
  yield outgoing("node", "records", present);
  for (const [name, value] of Object.entries(rest)) if (value !== undefined) yield outgoing("node", name, value);
  for (const each of interfaces) yield outgoing("interfaces", `${each.ifindex} ${each.name}`, each);
  for (const name of present)
    for (const [key, value] of Object.entries(records[name] ?? {})) yield outgoing(name, `=${key}`, value);
}

export function factsOf(document: HeldDocument<unknown>): NodeFacts {
  const sectionOf = (name: string) => [...(document.get(name) ?? [])];
  const node = Object.fromEntries(sectionOf("node").map(([name, { value }]) => [name, value]));
  const { records = [], ...rest } = node;
  const present = (records as readonly string[]).map((name) => [
    name,
    Object.fromEntries(sectionOf(name).map(([key, { value }]) => [key.slice(1), value])),
  ]);
  const interfaces = sectionOf("interfaces").map(([, { value }]) => value);
  const facts = { ...rest, interfaces, ...Object.fromEntries(present) } as Partial<NodeFacts>;
  const { nodeName, kernel, objects, cgroups, bpffs } = facts;
  if (nodeName === undefined || kernel === undefined || objects === undefined || cgroups === undefined || !bpffs)
    throw new KernelError(
      "read the facts of the node: the daemon leaves some out; run agent and daemon of one version",
      {
        code: "invalid",
        call: "Open",
        retry: "when-changed",
      },
    );
  return facts as NodeFacts;
}
