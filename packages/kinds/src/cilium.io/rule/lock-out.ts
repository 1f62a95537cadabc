import type { PolicyDirection } from "@bpfleet/features";
import { lockOutText } from "../../policy/lock-out.ts";
import type { ReadContext } from "../../policy/read-context.ts";
import type { IssueList } from "../../schema/admit.ts";
import { readDirection } from "./read-rule.ts";
import type { CiliumRule } from "./rule-schema.ts";

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
        lockOutText(side, (port) => isAllowed(direction, port)),
      );
  }
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
