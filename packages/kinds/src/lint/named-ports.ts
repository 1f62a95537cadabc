import type { PolicyRule, PolicyStatement, PortMatch } from "@bpfleet/features";
import { meetsAll } from "../policy/requirements.ts";
import { renderPath } from "../yaml/places.ts";
import type { LintPod, LintView } from "./lint-view.ts";

type NamedPortMatch = Extract<PortMatch, { readonly match: "named-port" }>;

/** Each may look at every pod of a cluster, and somebody waits for the answer. */
const maxLooks = 16;

/** Ports by a name that nobody has given to one: a rule with such a port is as if it were not there. */
export function findNamelessPorts({ subject, ingress, egress }: PolicyStatement, view: LintView): readonly string[] {
  if (subject.selects !== "pods") return [];
  const isSelected = (pod: LintPod): boolean => pod.isHostNetwork !== true && meetsAll(subject.where, pod);
  const sides = [
    { rules: ingress.allow, isDeny: false, who: "that is selected", isMeant: () => isSelected },
    { rules: ingress.deny, isDeny: true, who: "that is selected", isMeant: () => isSelected },
    { rules: egress.allow, isDeny: false, who: "that the rule is about", isMeant: receiverOf },
    { rules: egress.deny, isDeny: true, who: "that the rule is about", isMeant: receiverOf },
  ];
  return sides
    .flatMap((side) => side.rules.flatMap((rule) => placesOf(rule).map((ports) => ({ ...side, rule, ports }))))
    .slice(0, maxLooks)
    .flatMap(({ rule, isDeny, who, isMeant, ports }) => {
      const pods = view.findPods(isMeant(rule), Infinity) ?? [];
      const [first] = ports;
      if (first === undefined || pods.length === 0 || pods.some((pod) => mayHave(pod, ports))) return [];
      const what = ports.length === 1 ? `${first.protocol} port` : "port";
      return [
        `${renderPath(first.origin.path)}: no pod ${who} has a ${what} named ${first.name} now, so nothing ${isDeny ? "is denied" : "passes"} by it`,
      ];
    });
}

/** Named ports by the place where they are written: without a protocol it is one of each. */
function placesOf({ peers, ports }: PolicyRule): readonly (readonly NamedPortMatch[])[] {
  if (ports === "any" || peers.length === 0) return [];
  const named = ports.filter((port) => port.match === "named-port");
  return [...Map.groupBy(named, ({ origin }) => origin.path).values()];
}

/** Whom a rule lets send to: to others than pods it may be any pod, behind a Service or an address. */
function receiverOf({ peers }: PolicyRule): (pod: LintPod) => boolean {
  return (pod) => peers === "any" || peers.some((peer) => peer.peer !== "pods" || meetsAll(peer.where, pod));
}

function mayHave({ namedPorts }: LintPod, ports: readonly NamedPortMatch[]): boolean {
  if (namedPorts === undefined) return true;
  return ports.some(({ name, protocol }) =>
    namedPorts.some((port) => port.name === name && port.protocol === protocol),
  );
}
