import { parsePrefix } from "../../address/prefix.ts";
import { defineKind } from "../../define-kind.ts";
import type { IssueList } from "../../schema/admit.ts";
import { describe } from "../../schema/admit.ts";
import { nodeAccess } from "./access.ts";
import { nodeColumns } from "./columns.ts";
import { lowerNode } from "./lower.ts";
import { anySchema, internalIpsOf } from "./schema.ts";
import type { Node } from "./schema.ts";

/** A node as far as one without a cluster needs it: its labels and its internal addresses. */
export const node = defineKind<Node>({
  group: "",
  version: "v1",
  kind: "Node",
  plural: "nodes",
  singular: "node",
  shortNames: ["no"],
  scope: "Cluster",
  description: "Gives this node labels that node selectors look at, and says which address is its own.",
  columns: nodeColumns,
  access: nodeAccess,
  conditions: {},
  specSchema: anySchema,
  statusSchema: anySchema,
  isOurs: false,
  check: checkNode,
  lower: lowerNode,
  status: (parsed) => parsed.object.status ?? {},
});

function checkNode(object: Node, found: IssueList): void {
  for (const address of internalIpsOf(object)) {
    if (!parsePrefix(address).ok || address.includes("/"))
      found.error(
        "/status/addresses",
        "invalid",
        `InternalIP must be an IPv4 or IPv6 address, is ${describe(address)}`,
      );
  }
}
