import type { IssueList } from "../../schema/admit.ts";
import { describe } from "../../schema/admit.ts";
import { asJsonSchema } from "../../schema/json-schema.ts";
import { findNearest } from "../../schema/suggest.ts";
import { joinPointer } from "../../yaml/places.ts";
import type { FelixConfiguration, FelixSpec } from "./schema.ts";
import { specSchema } from "./schema.ts";

const known = Object.keys(asJsonSchema(specSchema).properties ?? {});

/** Words that only misspelling brings here, settings that contradict each other, and names that nothing reads. */
export function checkFelix({ metadata, spec }: FelixConfiguration, found: IssueList): void {
  if (found.isSound("/metadata") && metadata.name !== "default" && !metadata.name.startsWith("node."))
    found.warning("/metadata/name", "not-read", `is neither default nor node.NAME: nobody reads ${metadata.name}`);
  for (const name of Object.keys(spec)) if (!known.includes(name)) checkUnknown(name, found);
  for (const name of ["bpfDataIfacePattern", "bpfL3IfacePattern", "bpfDisableGROForIfaces"] as const)
    checkExpression(spec[name], `/spec/${name}`, found);
  checkPorts(spec.bpfPSNATPorts, found);
  if (found.isSound("/spec")) warnOfContradictions(spec, found);
}

/** Calico has hundreds of other settings; one about eBPF is probably misspelt. */
function checkUnknown(name: string, found: IssueList): void {
  const nearest = findNearest(name, known);
  if (nearest !== undefined)
    found.warning(joinPointer("/spec", name), "unknown-field", `unknown; did you mean ${nearest}?`);
  else if (/^bpf/i.test(name))
    found.warning(joinPointer("/spec", name), "unknown-field", "unknown, so it has no effect");
}

function checkExpression(text: unknown, path: string, found: IssueList): void {
  if (typeof text !== "string") return;
  try {
    RegExp(text);
  } catch (error) {
    found.error(path, "expression", `must be a regular expression, is ${describe(text)}: ${String(error)}`);
  }
}

function checkPorts(ports: unknown, found: IssueList): void {
  const [, first = "", last = ""] = /^(\d{1,5}):(\d{1,5})$/.exec(typeof ports === "string" ? ports : "") ?? [];
  if (first === "") return;
  if (Number(last) > 65535 || Number(first) > Number(last))
    found.error(
      "/spec/bpfPSNATPorts",
      "range",
      `must be a range of ports that does not run backwards, is ${describe(ports)}`,
    );
}

function warnOfContradictions(spec: FelixSpec, found: IssueList): void {
  if (spec.bpfConnectTimeLoadBalancingEnabled !== undefined)
    found.warning(
      "/spec/bpfConnectTimeLoadBalancingEnabled",
      "deprecated",
      "is deprecated; use bpfConnectTimeLoadBalancing",
    );
  if (spec.bpfRedirectToPeer === "L2Only")
    found.warning("/spec/bpfRedirectToPeer", "deprecated", "L2Only is deprecated; use Enabled");
  if (spec.bpfEnabled === true && spec.bpfKubeProxyIptablesCleanupEnabled !== false)
    found.warning(
      "/spec/bpfKubeProxyIptablesCleanupEnabled",
      "cleanup",
      "is not false: where kube-proxy runs, its rules would be removed and made again without end",
    );
  if (spec.bpfConnectTimeLoadBalancing === "Disabled" && spec.bpfHostNetworkedNATWithoutCTLB === "Disabled")
    found.warning(
      "/spec/bpfHostNetworkedNATWithoutCTLB",
      "no-services",
      "is Disabled as bpfConnectTimeLoadBalancing is: the host itself reaches no Service",
    );
  if (!/^dsr$/i.test(spec.bpfExternalServiceMode ?? "") && (spec.bpfDSROptoutCIDRs ?? []).length > 0)
    found.warning("/spec/bpfDSROptoutCIDRs", "no-effect", "has no effect without bpfExternalServiceMode DSR");
}
