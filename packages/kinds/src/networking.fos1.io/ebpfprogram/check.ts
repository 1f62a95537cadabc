import { parsePrefix, renderPrefix } from "../../address/prefix.ts";
import type { IssueList } from "../../schema/admit.ts";
import type { EBPFProgram } from "./schema.ts";

/** Warnings: what is read otherwise than it is written, and what has no effect. */
export function checkProgram({ spec }: EBPFProgram, found: IssueList): void {
  if (found.isSound("/spec/type")) warnOfNoEffect(spec, found);
  const { blacklist } = spec.settings ?? {};
  if (Array.isArray(blacklist?.ips)) checkIps(blacklist.ips, found);
  if (blacklist?.enabled === false && (blacklist.ips ?? []).length > 0) {
    found.warning("/spec/settings/blacklist/enabled", "no-effect", "is false, so the list is not used");
  }
}

function warnOfNoEffect(spec: EBPFProgram["spec"], found: IssueList): void {
  const { settings, type } = spec;
  const isOnPods = type === "cgroup" || type === "sockops";
  if (isOnPods && spec.interface !== undefined) {
    found.warning(
      "/spec/interface",
      "no-effect",
      `has no effect for type ${type}, which runs on the pods of the namespace`,
    );
  }
  if (settings?.stateful === true && type !== "xdp" && type !== "tc-ingress") {
    found.warning("/spec/settings/stateful", "no-effect", `has no effect for type ${type}`);
  }
  if (type === "sockops" && spec.maps !== undefined)
    found.warning("/spec/maps", "no-effect", "has no effect for type sockops, which sees no packets");
  if (type === "cgroup" && settings?.containerPolicy?.enableEgressControl !== true) warnWithoutControl(spec, found);
}

function warnWithoutControl({ settings, maps }: EBPFProgram["spec"], found: IssueList): void {
  const message = "has no effect for type cgroup without spec.settings.containerPolicy.enableEgressControl";
  if (settings?.blacklist?.enabled === true) found.warning("/spec/settings/blacklist", "no-effect", message);
  if (settings?.rateLimiting?.enabled === true) found.warning("/spec/settings/rateLimiting", "no-effect", message);
  if (maps !== undefined) found.warning("/spec/maps", "no-effect", message);
}

function checkIps(ips: readonly string[], found: IssueList): void {
  const seen = new Map<string, number>();
  for (const [index, text] of ips.entries()) {
    if (typeof text !== "string") continue;
    const read = parsePrefix(text);
    if (!read.ok) continue;
    const path = `/spec/settings/blacklist/ips/${index}`;
    const name = renderPrefix(read.prefix);
    if (read.hadHostBits) found.warning(path, "host-bits", `${text} has bits set past its length; read as ${name}`);
    const earlier = seen.get(name);
    if (earlier === undefined) seen.set(name, index);
    else found.warning(path, "duplicate", `${text} is already in spec.settings.blacklist.ips[${earlier}]`);
  }
}
