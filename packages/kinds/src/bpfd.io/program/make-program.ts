import type { ObjectRef } from "@bpfleet/base";
import { sameRef } from "@bpfleet/base";
import type { NodePlan, ProgramSpec } from "@bpfleet/kernel";
import { configFate } from "../config/fate.ts";
import type { ConfigFate } from "../config/fate.ts";
import { eraOf } from "../config/spec.ts";
import type { ProgramConfig } from "../config/spec.ts";
import type { Outcome, Parsed } from "../../kind.ts";
import { nextConditions } from "../conditions.ts";
import type { Said } from "../conditions.ts";
import { bpfdGroup, bpfdVersion, loadedNoun, nameLabelValue, programName } from "../names.ts";
import type { KindNames } from "../names.ts";
import { programConditions } from "./spec.ts";
import type { NodeProgram } from "./spec.ts";

const knownTypes = Object.keys(programConditions);

/** The object that tells what one config became on this node. */
export function makeProgram(
  names: KindNames,
  parsed: Parsed<ProgramConfig>,
  outcomeFor: (ref: ObjectRef) => Outcome,
): NodeProgram {
  const { metadata, spec } = parsed.object;
  const { nodeName } = outcomeFor(parsed.ref);
  const name = programName(metadata.name, nodeName);
  const outcome = outcomeFor({ group: bpfdGroup, kind: names.program, namespace: "", name });
  const fate = configFate(parsed, outcome);
  const said = saidOf(fate.state, names, loadedNoun(names, spec));
  const apiVersion = `${bpfdGroup}/${bpfdVersion}`;
  const owner = { apiVersion, kind: names.config, name: metadata.name, uid: metadata.uid ?? "" };
  return {
    apiVersion,
    kind: names.program,
    metadata: {
      name,
      labels: { owningConfig: nameLabelValue(metadata.name) },
      ...(fate.state === "not-selected" ? {} : { finalizers: ["bpfd.io.agent/finalizer"] }),
      ownerReferences: [{ ...owner, blockOwnerDeletion: true, controller: true }],
    },
    spec: {
      programs: programsOf(parsed, outcome),
      ...(eraOf(spec) === "first" ? {} : { node: nodeName, type: spec.type }),
    },
    status: { conditions: nextConditions(outcome.previousStatus, said, fate.ours, knownTypes, outcome.clock) },
  };
}

function saidOf(state: ConfigFate["state"], { noun }: KindNames, loaded: string): readonly Said[] {
  switch (state) {
    case "pending":
      return [];
    case "loaded":
      return [{ type: "Loaded", reason: "bpfdLoaded", message: `Successfully loaded ${loaded}` }];
    case "failed":
      return [{ type: "NotLoaded", reason: "bpfdNotLoaded", message: `Failed to load ${noun}` }];
    case "not-selected":
      return [
        {
          type: "NotSelected",
          reason: "nodeNotSelected",
          message: `This node is not selected to run the ${noun}`,
        },
      ];
  }
}

/** Programs that are loaded, by the UUID in their key; an earlier one that still runs is among them. */
function programsOf({ ref, object }: Parsed<ProgramConfig>, { plan, items }: Outcome): NodeProgram["spec"]["programs"] {
  const loaded = new Set(
    items.flatMap((item) => (item.item === "program" && item.state === "in-force" ? item.key : [])),
  );
  const own = plan.programs.filter(({ owner, key }) => owner !== undefined && sameRef(owner, ref) && loaded.has(key));
  return Object.fromEntries(
    own.map((program) => [uuidOf(program.key), { attachpoint: object.spec.attachpoint, maps: mapsOf(program, plan) }]),
  );
}

function uuidOf(key: string): string {
  return /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/.exec(key)?.[0] ?? key;
}

/** Maps that have a pin for people, those of other configs that it shares among them. */
function mapsOf(program: ProgramSpec, plan: NodePlan): Record<string, string> {
  const pins = new Map(plan.maps.map(({ key, pinPath }) => [key, pinPath]));
  const named = Object.entries(program.maps).flatMap(([name, key]) => {
    const path = pins.get(key);
    return path === undefined ? [] : [[name, path] as const];
  });
  return Object.fromEntries(named.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
