import type { LogEntry } from "@bpfleet/features";

/** `15:04:05.123 allow ingress shop/db 10.2.0.2:5432 from shop/web 10.1.0.2:40000 tcp: text (EBPFNetworkPolicy shop/db, a.yaml:3)` */
export function renderLogEntry(entry: LogEntry): string {
  const { time, verdict, direction, object, namespace, rule, endpoint, peer, protocol, icmpType, missed } = entry;
  const place = rule?.file === undefined ? "" : `, ${rule.file}:${rule.line}`;
  const owner =
    object === undefined
      ? "a rule that is gone"
      : `${object.kind} ${namespace ? `${namespace}/` : ""}${object.name}${place}`;
  const value = rule?.value === undefined ? "" : ` [${rule.value}]`;
  const more = missed === 0 ? "" : `; ${missed} more were not told`;
  const what = icmpType === undefined ? protocol : `${protocol} type ${icmpType}`;
  const toOrFrom = direction === "ingress" ? "from" : "to";
  return `${time.slice(11, 23)} ${verdict} ${direction} ${endOf(endpoint)} ${toOrFrom} ${endOf(peer)} ${what}: ${rule?.text ?? "?"}${value} (${owner})${more}`;
}

function endOf({ node, namespace, pod, address, port }: LogEntry["endpoint"]): string {
  const name = node !== undefined ? `node ${node} ` : pod === undefined ? "" : `${namespace}/${pod} `;
  const isIpv6 = address.includes(":");
  return `${name}${isIpv6 && port !== undefined ? `[${address}]` : address}${port === undefined ? "" : `:${port}`}`;
}
