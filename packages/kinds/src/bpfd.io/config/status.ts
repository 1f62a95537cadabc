import type { Static } from "typebox";
import type { Outcome, Parsed } from "../../kind.ts";
import { commonStatus } from "../../schema/conditions.ts";
import { Type } from "../../schema/type.ts";
import { nextConditions } from "../conditions.ts";
import type { Said } from "../conditions.ts";
import { programName } from "../names.ts";
import type { KindNames } from "../names.ts";
import { configFate } from "./fate.ts";
import type { ProgramConfig } from "./spec.ts";

export const configStatusSchema = Type.Object(
  { conditions: commonStatus.conditions },
  { description: "What became of the program, on all nodes." },
);
export type ConfigStatus = Static<typeof configStatusSchema>;

export const configConditions: Readonly<Record<string, string>> = {
  Cause: "Something is not as asked: why. Ours; it comes first, and goes when the cause does.",
  Note: "All is as asked, and there is something to know: a map that was made anew, a field without effect. Ours.",
  NotYetLoaded: "The config was read. It stays when others follow.",
  ReconcileError: "On some node the program is not loaded.",
  ReconcileSuccess: "On every selected node the program is loaded.",
  DeleteError: "The program could not be removed from some node.",
};

const knownTypes = Object.keys(configConditions);

export function configStatus(names: KindNames, parsed: Parsed<ProgramConfig>, outcome: Outcome): ConfigStatus {
  const fate = configFate(parsed, outcome);
  const made = programName(parsed.ref.name, outcome.nodeName);
  const first: Said = {
    type: "NotYetLoaded",
    reason: "ProgramsNotYetLoaded",
    message: `Waiting for ${names.config} Object to be reconciled to all nodes`,
  };
  const begun = nextConditions(outcome.previousStatus, [], [], knownTypes, outcome.clock);
  const isNew = !begun.some(({ type }) => type === first.type);
  const said = [...(isNew ? [first] : []), ...currentOf(names, fate.state, made)];
  return { conditions: [...nextConditions(outcome.previousStatus, said, fate.ours, knownTypes, outcome.clock)] };
}

function currentOf({ noun }: KindNames, state: ReturnType<typeof configFate>["state"], made: string): readonly Said[] {
  switch (state) {
    case "pending":
      return [];
    case "failed": {
      const message = `${noun}Reconciliation failed on the following ${noun} Objects: [${made}]`;
      return [{ type: "ReconcileError", reason: "ReconcileError", message }];
    }
    default: {
      const message = `${noun}Reconciliation Succeeded on all nodes`;
      return [{ type: "ReconcileSuccess", reason: "ReconcileSuccess", message }];
    }
  }
}
