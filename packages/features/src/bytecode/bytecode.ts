import type { Feature } from "../feature.ts";
import type { BytecodeIntent } from "./intent.ts";
import { feature, planBytecode } from "./plan.ts";

/** Runs programs that people bring; what they count stands in their own maps, and their verdicts in the chain's counters. */
export const bytecode: Feature<BytecodeIntent> = {
  name: feature,
  plan: planBytecode,
  passReasons: [],
  counterRoles: [],
  counters: ({ owner }) => ({ owner, reasons: {}, rules: [], gauges: {} }),
};
