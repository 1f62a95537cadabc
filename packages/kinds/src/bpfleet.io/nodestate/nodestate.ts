import { defineKind } from "../../define-kind.ts";
import { nodeStateAccess } from "./access.ts";
import { nodeStateColumns } from "./columns.ts";
import { statusSchema } from "./schema.ts";
import type { NodeState } from "./schema.ts";

/** Reasons are for scripts; the first that is not True says why Ready is not, but for Kept. The last is the operator's. */
export const nodeStateConditions = {
  Ready:
    "The node does what is declared, as far as it is served; failed objects do not count. Unknown while nobody hears its agent (AgentGone) or its kubelet (NodeLost): the operator says so.",
  DaemonReachable: "The agent speaks to the daemon, and the daemon to the kernel.",
  Synced: "The agent has read everything that it plans from.",
  Kept: "What is in force is on the node's disk, where the next boot looks for it. It is in force all the same, and Ready does not depend on it.",
  LastTold: "What Ready was when the agent was last heard; there only while nobody hears it.",
};

export const nodeState = defineKind<NodeState>({
  group: "bpfleet.io",
  version: "v1alpha1",
  kind: "NodeState",
  plural: "nodestates",
  singular: "nodestate",
  shortNames: ["nst"],
  scope: "Cluster",
  description:
    "Tells what every object became on one node, and what of BPF is in its kernel. Made by bpfleet, for reading only.",
  columns: nodeStateColumns,
  access: nodeStateAccess,
  conditions: nodeStateConditions,
  statusSchema,
  isOurs: true,
  madeFrom: "Node",
  lower: () => ({ intents: [], problems: [] }),
  status: (parsed) => parsed.object.status ?? {},
});
