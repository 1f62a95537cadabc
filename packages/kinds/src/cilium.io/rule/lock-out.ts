import type { PolicyDirection } from "@bpfleet/features";
import type { ReadContext } from "../../policy/read-context.ts";
import type { IssueList } from "../../schema/admit.ts";
import { readDirection } from "./read-rule.ts";
import type { CiliumRule } from "./rule-schema.ts";

/** What people and the cluster reach a node by, in TCP. */
const lifelines = [
  { name: "SSH", port: 22 },
  { name: "the API server", port: 6443 },
  { name: "the kubelet", port: 10250 },
] as const;

/** Nobody asks where a warning comes from: its path says so. */
const nowhere: ReadContext = {
  namespace: undefined,
  unknownIn: () => [],
  originOf: (path) => ({ object: { group: "", kind: "", namespace: "", name: "" }, path }),
};

/** Warns of a rule about nodes that closes them for more than its author may think. */
export function warnOfLockOut(rule: CiliumRule, path: string, found: IssueList): void {
  for (const side of ["ingress", "egress"] as const) {
    const direction = readDirection(rule, side, path, nowhere);
    const [first] = [...direction.allow, ...direction.deny];
    const at = first === undefined ? `${path}/enableDefaultDeny/${side}` : first.origin.path.replace(/\/\d+$/, "");
    if (direction.isDefaultDeny)
      found.warning(
        at,
        "lock-out",
        `denies whatever else ${side === "ingress" ? "comes to" : "leaves"} the selected nodes themselves; only the fail-safe ports stay open${side === "ingress" ? closedLifelines(direction) : ""}`,
      );
  }
}

function closedLifelines(direction: PolicyDirection): string {
  const closed = lifelines
    .filter(({ port }) => !isAllowed(direction, port))
    .map(({ name, port }) => `${name} (${port})`);
  return closed.length === 0 ? "" : `, and no rule lets in ${closed.join(", ")}`;
}

/** Somebody may reach the port. */
function isAllowed({ allow, deny }: PolicyDirection, port: number): boolean {
  const covers = ({ ports }: PolicyDirection["allow"][number]): boolean =>
    ports === "any" ||
    ports.some(
      (match) => match.match === "ports" && match.protocol === "TCP" && match.from <= port && port <= match.to,
    );
  const isDenied = deny.some((rule) => rule.peers === "any" && covers(rule));
  return (
    !isDenied && allow.some((rule) => (rule.peers !== "any" ? rule.peers.length > 0 && covers(rule) : covers(rule)))
  );
}
