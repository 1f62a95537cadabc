import type { Origin } from "@bpfleet/base";
import type { MapIntent } from "@bpfleet/features";
import type { PlanProblem } from "@bpfleet/kernel";
import type { Lowered, Parsed, ResourceView } from "../../kind.ts";
import { IssueList } from "../../schema/admit.ts";
import type { EBPFProgram } from "../ebpfprogram/schema.ts";
import { whyNoLookup } from "./address-lookup.ts";
import { mapDefinition } from "./definition.ts";
import { encodeEntries } from "./entries.ts";
import type { EBPFMap } from "./schema.ts";

/** What an EBPFMap asks of the maps feature. */
export function lowerMap(parsed: Parsed<EBPFMap>, view: ResourceView): Lowered {
  const { spec } = parsed.object;
  const originOf = (path: string): Origin => ({ object: parsed.ref, path, position: parsed.positionOf(path) });
  const definition = mapDefinition(spec);
  const { entries, indexes } = encodeEntries(spec, definition, new IssueList(() => undefined));
  const intent: MapIntent = {
    feature: "maps",
    origin: originOf("/spec"),
    definition,
    entries,
    prune: spec.prune,
    pinPath: spec.pinPath,
    pinOrigin: originOf("/spec/pinPath"),
    entryPaths: indexes.map((index) => `/spec/initData/${index}`),
  };
  return { intents: [intent], problems: accessProblems(parsed, view) };
}

/** What whoever wrote `accessedBy` should know: programs that are not there, or cannot use the map. */
function accessProblems(parsed: Parsed<EBPFMap>, view: ResourceView): readonly PlanProblem[] {
  const { namespace, group } = parsed.ref;
  const problems: PlanProblem[] = [];
  for (const [index, name] of (parsed.object.spec.accessedBy ?? []).entries()) {
    const path = `/spec/accessedBy/${index}`;
    const origin = { object: parsed.ref, path, position: parsed.positionOf(path) };
    const program = view.find({ group, kind: "EBPFProgram", namespace, name }) as Parsed<EBPFProgram> | undefined;
    const why =
      program === undefined
        ? `EBPFProgram ${namespace}/${name} does not exist; it uses the map as soon as it does`
        : whyNoAccess(parsed, program);
    if (why !== undefined)
      problems.push({
        origin,
        severity: "note",
        reason: program === undefined ? "ProgramNotFound" : "NotUsed",
        message: why,
      });
  }
  return problems;
}

function whyNoAccess(map: Parsed<EBPFMap>, program: Parsed<EBPFProgram>): string | undefined {
  const name = `EBPFProgram ${program.ref.namespace}/${program.ref.name}`;
  const { type, settings } = program.object.spec;
  if (type === "sockops" || (type === "cgroup" && settings?.containerPolicy?.enableEgressControl !== true))
    return `${name} drops nothing by address, so it does not use the map`;
  const unusable = whyNoLookup(map);
  return unusable === undefined ? undefined : `${name} cannot look addresses up in it: ${unusable}`;
}
