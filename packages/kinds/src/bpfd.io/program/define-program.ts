import { defineKind } from "../../define-kind.ts";
import type { DefinedKind, KindSource } from "../../define-kind.ts";
import type { Outcome } from "../../kind.ts";
import { nextConditions } from "../conditions.ts";
import { bpfdGroup, bpfdVersion } from "../names.ts";
import type { KindNames } from "../names.ts";
import { programConditions } from "./spec.ts";
import type { NodeProgram } from "./spec.ts";

type ProgramParts = Pick<KindSource<NodeProgram>, "description" | "columns" | "access" | "specSchema" | "statusSchema">;

/** What is made of a config on each node, under both names that the API had. */
export function defineProgram(names: KindNames, plural: string, parts: ProgramParts): DefinedKind<NodeProgram> {
  const { description, columns, access, specSchema, statusSchema } = parts;
  return defineKind<NodeProgram>({
    group: bpfdGroup,
    version: bpfdVersion,
    kind: names.program,
    plural,
    singular: plural.replace(/s$/, ""),
    shortNames: [],
    scope: "Cluster",
    description,
    columns,
    access,
    conditions: programConditions,
    specSchema,
    statusSchema,
    isOurs: true,
    madeFrom: names.config,
    lower: () => ({ intents: [], problems: [] }),
    status: (parsed, outcome) =>
      isLeaving(parsed.object) ? stuckStatus(names, outcome) : (parsed.object.status ?? {}),
  });
}

function isLeaving({ metadata }: NodeProgram): boolean {
  return metadata.deletionTimestamp !== undefined;
}

/** It should be gone, and something keeps it. */
function stuckStatus({ noun }: KindNames, { previousStatus, problems, clock }: Outcome): NodeProgram["status"] {
  const said = { type: "NotUnLoaded", reason: "bpfdNotUnloaded", message: `Failed to unload ${noun}` };
  const causes = problems.map(({ reason, message }) => ({ type: "Cause", reason, message }));
  const known = Object.keys(programConditions);
  return { conditions: nextConditions(previousStatus, [said], causes.slice(0, 1), known, clock) };
}
