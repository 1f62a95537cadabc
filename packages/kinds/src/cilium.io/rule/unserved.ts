import type { AnyRule } from "./peer-fields.ts";

export interface UnservedField {
  readonly path: string;
  readonly what: string;
}

/** What a rule asks for that is not served. */
export function unservedOf(rule: AnyRule, at: string): readonly UnservedField[] {
  const found: UnservedField[] = [];
  const note = (path: string, what: string): number => found.push({ path: `${at}/${path}`, what });
  for (const field of ["fromGroups", "toGroups"] as const)
    if ((rule[field] ?? []).length > 0) note(field, "groups of a cloud");
  for (const field of ["fromCIDRSet", "toCIDRSet"] as const) {
    for (const [index, { cidrGroupRef, cidrGroupSelector }] of (rule[field] ?? []).entries()) {
      if (cidrGroupRef !== undefined) note(`${field}/${index}/cidrGroupRef`, "groups of CIDRs");
      if (cidrGroupSelector !== undefined) note(`${field}/${index}/cidrGroupSelector`, "groups of CIDRs");
    }
  }
  if (rule.authentication !== undefined && rule.authentication.mode !== "disabled")
    note("authentication", "authentication of both sides");
  for (const [index, ports] of (rule.toPorts ?? []).entries()) {
    const place = `toPorts/${index}`;
    if (ports.rules?.http !== undefined) note(`${place}/rules/http`, "HTTP rules");
    // It may mean every name or none.
    if (ports.rules?.dns?.length === 0) note(`${place}/rules/dns`, "an empty list of DNS rules");
    if (ports.rules?.kafka !== undefined) note(`${place}/rules/kafka`, "Kafka rules");
    if (ports.rules?.l7proto !== undefined) note(`${place}/rules/l7proto`, "rules of other protocols");
    if ((ports.serverNames ?? []).length > 0) note(`${place}/serverNames`, "server names of TLS");
    if (ports.terminatingTLS !== undefined) note(`${place}/terminatingTLS`, "terminating TLS");
    if (ports.originatingTLS !== undefined) note(`${place}/originatingTLS`, "originating TLS");
    if (ports.listener !== undefined) note(`${place}/listener`, "redirection to a listener");
  }
  return found;
}
