import { parseRate } from "../../quantity/quantity.ts";
import type { IssueList } from "../../schema/admit.ts";
import { joinPointer } from "../../yaml/places.ts";
import { parsePortRange } from "../parts/ports.ts";
import { warnOfHostBits } from "../parts/prefixes.ts";
import type { EBPFTrafficControl, TrafficControlSpec, TrafficFilter } from "./schema.ts";

/** What takes reading of rates and ranges, and what is probably not meant. */
export function checkTrafficControl({ spec }: EBPFTrafficControl, found: IssueList): void {
  checkRates(spec, found);
  if (found.isSound("/spec/classes")) checkClasses(spec, found);
  if (found.isSound("/spec/queueingDiscipline")) checkDiscipline(spec, found);
  for (const [index, filter] of (Array.isArray(spec.filters) ? spec.filters : []).entries())
    if (found.isSound(`/spec/filters/${index}`)) checkFilter(filter, `/spec/filters/${index}`, found);
  if (isEmpty(spec.filters) && isEmpty(spec.classes) && spec.queueingDiscipline === undefined)
    found.warning("/spec", "no-effect", "says no discipline, no classes and no filters, so nothing is done");
}

function isEmpty(list: readonly unknown[] | undefined): boolean {
  return list === undefined || list.length === 0;
}

/** `Mbps` is bytes to tc and bits to everybody else. */
function checkRates(value: unknown, found: IssueList, path = "/spec"): void {
  if (typeof value !== "object" || value === null) return;
  for (const [key, field] of Object.entries(value)) {
    const at = joinPointer(path, key);
    if ((key === "rate" || key === "ceiling") && typeof field === "string" && /bps$/i.test(field))
      found.warning(
        at,
        "unit",
        `${field} is read as bits each second; tc would read bytes; write ${field.slice(0, -2)}it`,
      );
    else checkRates(field, found, at);
  }
}

function checkClasses({ classes = [], filters = [], queueingDiscipline }: TrafficControlSpec, found: IssueList): void {
  const whole = found.isSound("/spec/queueingDiscipline") ? parseRate(queueingDiscipline?.rate ?? "") : undefined;
  let sum = 0;
  for (const [index, { id, rate, ceiling }] of classes.entries()) {
    const path = `/spec/classes/${index}`;
    const own = parseRate(rate ?? "") ?? 0;
    const most = parseRate(ceiling ?? "");
    sum += own;
    if (most !== undefined && most < own)
      found.error(`${path}/ceiling`, "range", `must be at least rate, ${rate}, is ${ceiling}`);
    if (whole !== undefined && own > whole)
      found.warning(
        `${path}/rate`,
        "too-much",
        `is more than spec.queueingDiscipline.rate, ${queueingDiscipline?.rate}`,
      );
    if (found.isSound("/spec/filters") && !filters.some(({ classID }) => classID === id))
      found.warning(`${path}/id`, "no-effect", `no filter has classID ${id}, so nothing waits in this class`);
  }
  if (whole !== undefined && sum > whole)
    found.warning(
      "/spec/classes",
      "too-much",
      `are sure of more than spec.queueingDiscipline.rate, ${queueingDiscipline?.rate}, together`,
    );
}

function checkDiscipline({ queueingDiscipline, direction }: TrafficControlSpec, found: IssueList): void {
  if (queueingDiscipline === undefined) return;
  const path = "/spec/queueingDiscipline";
  const { type, rate, burst, latency, quantum } = queueingDiscipline;
  if (direction === "ingress")
    found.warning(path, "no-queue", "packets that came in cannot wait: what exceeds a rate is dropped");
  const isFair = type === "sfq" || type === "fq_codel";
  if (isFair && rate !== undefined)
    found.warning(`${path}/rate`, "no-effect", `has no effect for type ${type}, which limits nothing; use htb or tbf`);
  if (isFair && burst !== undefined) found.warning(`${path}/burst`, "no-effect", `has no effect for type ${type}`);
  if (type !== "tbf" && latency !== undefined)
    found.warning(`${path}/latency`, "no-effect", `has no effect for type ${type}`);
  if ((type === "tbf" || type === "hfsc") && quantum !== undefined)
    found.warning(`${path}/quantum`, "no-effect", `has no effect for type ${type}`);
}

function checkFilter({ action, match, protocol, classID }: TrafficFilter, path: string, found: IssueList): void {
  for (const field of ["srcPort", "dstPort"] as const) {
    const written = match?.[field];
    if (written !== undefined && parsePortRange(written) === undefined)
      found.error(`${path}/match/${field}`, "range", `must not run backwards, is ${written}`);
    else if (written !== undefined && (protocol === "all" || protocol === "ip"))
      found.warning(
        `${path}/match/${field}`,
        "protocol",
        `means TCP and UDP; set protocol to tcp or udp for one of them`,
      );
  }
  for (const field of ["srcIP", "dstIP"] as const) warnOfHostBits(match?.[field], `${path}/match/${field}`, found);
  if (action === undefined && classID === undefined)
    found.warning(path, "no-effect", "has neither action nor classID, so it does nothing");
  if (action === undefined) return;
  for (const field of ["mark", "police", "redirect"] as const)
    if (action[field] !== undefined && action.type !== field)
      found.warning(`${path}/action/${field}`, "no-effect", `has no effect for type ${action.type}`);
  if (action.type === "mark" && (action.mark ?? 0) > 63)
    found.warning(
      `${path}/action/mark`,
      "no-dscp",
      `${action.mark} is no DSCP, which goes up to 63: only the mark in the kernel is set`,
    );
  if (action.type === "drop" && classID !== undefined)
    found.warning(`${path}/classID`, "no-effect", "has no effect: the packets are dropped");
}
