import { fingerprint } from "@bpfleet/base";
import { eraOf } from "./config/spec.ts";
import type { ConfigSpec } from "./config/spec.ts";

/** The two names that the API had, with the spelling of each in messages. */
export interface KindNames {
  readonly config: "BpfProgramConfig" | "EbpfProgramConfig";
  readonly program: "BpfProgram" | "EbpfProgram";
  /** In messages: `Failed to load bpfProgram`. */
  readonly noun: "bpfProgram" | "ebpfProgram";
}

export const bpfNames: KindNames = { config: "BpfProgramConfig", program: "BpfProgram", noun: "bpfProgram" };
export const ebpfNames: KindNames = { config: "EbpfProgramConfig", program: "EbpfProgram", noun: "ebpfProgram" };

export const bpfdGroup = "bpfd.io";
export const bpfdVersion = "v1alpha1";

/** What a loaded program is called: the form with spec.priority has its kind's own spelling under the newer name. */
export function loadedNoun(names: KindNames, spec: ConfigSpec): string {
  return names.noun === "bpfProgram" && eraOf(spec) === "first" ? names.program : names.noun;
}

const longest = 253;

/** `<config>-<node>`, as a name that an object can have. */
export function programName(config: string, node: string): string {
  const fit = node
    .toLowerCase()
    .replaceAll(/[^a-z0-9.-]/g, "-")
    .replaceAll(/^[-.]+|[-.]+$/g, "");
  const name = `${config}-${fit === "" ? fingerprint(node) : fit}`;
  if (name.length <= longest) return name;
  // No part of a name ends with a dash.
  return `${name.slice(0, longest - 15).replace(/[-.]+$/, "")}-${fingerprint(name)}`;
}

/** On an object that the agent of a node made: of which node it is. */
export const nodeLabel = "bpfleet.io/node";

/** A name may be longer than a label's value: so much of it stands before a fingerprint. */
export const longestLabel = 63;
export const keptOfLongName = 48;

/** Of a node, or of the config that a program is made of. */
export function nameLabelValue(name: string): string {
  if (name.length <= longestLabel) return name;
  return `${name.slice(0, keptOfLongName)}-${fingerprint(name)}`;
}
