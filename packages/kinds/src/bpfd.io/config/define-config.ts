import { defineKind } from "../../define-kind.ts";
import type { DefinedKind, KindSource } from "../../define-kind.ts";
import { bpfdGroup, bpfdVersion } from "../names.ts";
import type { KindNames } from "../names.ts";
import { makeProgram } from "../program/make-program.ts";
import { aggregateConfig } from "./aggregate.ts";
import { checkConfig } from "./check.ts";
import { lowerConfig } from "./lower.ts";
import type { ProgramConfig } from "./spec.ts";
import { configConditions, configStatus } from "./status.ts";

type ConfigParts = Pick<
  KindSource<ProgramConfig>,
  "description" | "columns" | "access" | "specSchema" | "statusSchema"
>;

/** Both names that the API had for what people write; they mean the same. */
export function defineConfig(names: KindNames, parts: ConfigParts): DefinedKind<ProgramConfig> {
  const singular = names.config.toLowerCase();
  const { description, columns, access, specSchema, statusSchema } = parts;
  return defineKind<ProgramConfig>({
    group: bpfdGroup,
    version: bpfdVersion,
    kind: names.config,
    plural: `${singular}s`,
    singular,
    shortNames: [],
    scope: "Cluster",
    description,
    columns,
    access,
    conditions: configConditions,
    specSchema,
    statusSchema,
    isOurs: true,
    check: checkConfig,
    lower: lowerConfig,
    status: (parsed, outcome) => configStatus(names, parsed, outcome),
    aggregate: (object, fleet) => aggregateConfig(names, object, fleet),
    generate: (parsed, outcomeFor) => [makeProgram(names, parsed, outcomeFor)],
  });
}
