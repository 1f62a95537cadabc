import { parsePrefix, renderPrefix } from "../../address/prefix.ts";
import type { IssueList } from "../../schema/admit.ts";
import { describe } from "../../schema/admit.ts";
import { parseBandwidth } from "../../policy/bandwidth.ts";
import { containsPrefix } from "../../policy/contains-prefix.ts";
import { soundItems } from "../../schema/sound-items.ts";
import { checkSelector } from "./check-selector.ts";
import type { AnyRule, PeerField } from "./peer-fields.ts";
import type { CiliumBandwidth, CiliumCidrRule, CiliumName, CiliumService } from "./rule-schema.ts";

/** Checks all peers of one item, and warns of combinations. */
export function checkPeers(
  item: AnyRule,
  at: string,
  fields: readonly PeerField[],
  isDeny: boolean,
  found: IssueList,
): void {
  const given = fields.filter((field) => Array.isArray(item[field]));
  const filled = given.filter((field) => (item[field] ?? []).length > 0);
  const empty = given.find((field) => (item[field] ?? []).length === 0);
  if (filled.length > 1) {
    const [first = "", second = ""] = filled;
    found.warning(
      `${at}/${second}`,
      "combined-peers",
      `stands beside ${first}: any of them is meant; Cilium refuses to combine them, so write a rule for each`,
    );
  }
  if (empty !== undefined)
    found.warning(
      `${at}/${empty}`,
      "empty-list",
      `is an empty list, so the whole rule ${isDeny ? "denies" : "allows"} nobody, as with Cilium; leave the field out to mean anybody`,
    );
  // With a field that nobody knows it denies everybody.
  if (isDeny && isBlank(item) && !found.closing.some((path) => path.startsWith(`${at}/`)))
    found.warning(
      at,
      "empty-rule",
      `is an empty rule, which denies nobody, as with Cilium; write ${fields.includes("fromEntities") ? "fromEntities" : "toEntities"}: [all] to deny everybody`,
    );
  for (const field of given) checkField(item, field, `${at}/${field}`, found);
  for (const field of ["toBandwidth", "fromBandwidth"] as const) {
    const bandwidth = item[field];
    if (bandwidth !== undefined && found.isSound(`${at}/${field}`)) checkBandwidth(bandwidth, `${at}/${field}`, found);
  }
}

/** Entities of Cilium's own parts; whoever writes none means nobody. */
const nobody: ReadonlySet<string> = new Set(["cluster-mesh", "health", "ingress", "init", "unmanaged"]);

/** Fields that may say something of a rule, and do not say whom it is about. */
const furnishings = ["description", "toBandwidth", "fromBandwidth"];

export function isBlank(item: AnyRule): boolean {
  return Object.entries(item).every(
    ([field, value]) =>
      value === undefined ||
      furnishings.includes(field) ||
      ((field === "toPorts" || field === "icmps") && Array.isArray(value) && value.length === 0),
  );
}

function checkField(item: AnyRule, field: PeerField, at: string, found: IssueList): void {
  switch (field) {
    case "fromEndpoints":
    case "toEndpoints":
    case "fromNodes":
    case "toNodes":
      for (const [selector, path] of soundItems(item[field], at, found)) checkSelector(selector, path, found);
      break;
    case "fromCIDR":
    case "toCIDR":
      for (const [text, path] of soundItems(item[field], at, found)) checkPrefix(text, path, found);
      break;
    case "fromCIDRSet":
    case "toCIDRSet":
      for (const [rule, path] of soundItems(item[field], at, found)) checkCidrRule(rule, path, found);
      break;
    case "toServices":
      for (const [service, path] of soundItems(item.toServices, at, found)) checkService(service, path, found);
      break;
    case "toFQDNs":
      for (const [name, path] of soundItems(item.toFQDNs, at, found)) {
        checkName(name, path, found);
        warnOfClusterName(name, path, found);
      }
      break;
    case "fromEntities":
    case "toEntities":
      for (const [entity, path] of soundItems(item[field], at, found))
        if (nobody.has(entity))
          found.warning(path, "no-effect", `${entity} is nobody here: nothing like it is told apart`);
      break;
    case "fromGroups":
    case "toGroups":
      break;
  }
}

function checkPrefix(text: string, at: string, found: IssueList): ReturnType<typeof parsePrefix> {
  const read = parsePrefix(text);
  if (!read.ok)
    found.error(at, "policy", `must be an IPv4 or IPv6 address or a CIDR, is ${describe(text)}: ${read.because}`);
  else if (read.hadHostBits)
    found.warning(at, "host-bits", `${text} has bits set past its length; read as ${renderPrefix(read.prefix)}`);
  return read;
}

function checkCidrRule(rule: CiliumCidrRule, at: string, found: IssueList): void {
  const sources = (["cidr", "cidrGroupRef", "cidrGroupSelector"] as const).filter((name) => rule[name] !== undefined);
  if (sources.length !== 1)
    found.error(
      at,
      "policy",
      `must have exactly one of cidr, cidrGroupRef and cidrGroupSelector, has ${sources.length === 0 ? "none" : sources.join(" and ")}`,
    );
  if (rule.cidrGroupSelector !== undefined) checkSelector(rule.cidrGroupSelector, `${at}/cidrGroupSelector`, found);
  const whole = rule.cidr === undefined ? undefined : checkCidr(rule.cidr, `${at}/cidr`, found);
  for (const [index, text] of (rule.except ?? []).entries()) {
    const place = `${at}/except/${index}`;
    const part = checkCidr(text, place, found);
    if (whole?.ok !== true || !part.ok) continue;
    if (!containsPrefix(whole.prefix, part.prefix))
      found.error(place, "policy", `must lie within ${rule.cidr}, is ${text}`);
    else if (part.prefix.length === whole.prefix.length)
      found.warning(place, "no-effect", `is all of ${rule.cidr}, so nobody is meant`);
  }
}

/** Unlike plain lists, sets take no bare addresses. */
function checkCidr(text: string, at: string, found: IssueList): ReturnType<typeof parsePrefix> {
  const read = checkPrefix(text, at, found);
  if (read.ok && !text.includes("/"))
    found.error(at, "policy", `must have a length; write ${text}/${read.prefix.bytes.length * 8}`);
  return read;
}

function checkService({ k8sService, k8sServiceSelector }: CiliumService, at: string, found: IssueList): void {
  if ((k8sService === undefined) === (k8sServiceSelector === undefined))
    found.error(at, "policy", "must have exactly one of k8sService and k8sServiceSelector");
  if (k8sService !== undefined && (k8sService.serviceName ?? "") === "")
    found.error(`${at}/k8sService/serviceName`, "policy", "is required");
  if (k8sServiceSelector !== undefined)
    checkSelector(k8sServiceSelector.selector, `${at}/k8sServiceSelector/selector`, found);
}

export function checkName({ matchName, matchPattern }: CiliumName, at: string, found: IssueList): void {
  const count = [matchName, matchPattern].filter((text) => text !== undefined).length;
  if (count !== 1) found.error(at, "policy", `must have exactly one of matchName and matchPattern, has ${count}`);
}

/** Services and pods have such names, and rules about names never mean those. */
function warnOfClusterName({ matchName, matchPattern }: CiliumName, at: string, found: IssueList): void {
  const field = matchName === undefined ? "matchPattern" : "matchName";
  const name = matchName ?? matchPattern ?? "";
  if (!/\.(?:svc|pod)(?:\.cluster\.local)?\.?$|\.cluster\.local\.?$/i.test(name)) return;
  found.warning(
    `${at}/${field}`,
    "no-effect",
    `${name} is a name of the cluster, and names never mean its pods and nodes; use toEndpoints or toServices`,
  );
}

function checkBandwidth({ rate, bitsPerSecond }: CiliumBandwidth, at: string, found: IssueList): void {
  if ((rate === undefined) === (bitsPerSecond === undefined))
    found.error(at, "policy", "must have exactly one of rate and bitsPerSecond");
  if (rate !== undefined && parseBandwidth(rate) === undefined)
    found.error(`${at}/rate`, "policy", `must be bits each second, such as 50M or 512Ki, is ${describe(rate)}`);
  else if (typeof rate === "string" && /^[\d.]+m$/.test(rate))
    found.warning(
      `${at}/rate`,
      "unit",
      `${rate} is read as ${rate.slice(0, -1)}M, ${parseBandwidth(rate)} bits each second; in a quantity of Kubernetes m is a thousandth, so write M`,
    );
}
