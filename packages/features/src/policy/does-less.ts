import type { PlanPart, ProgramSpec } from "@bpfleet/kernel";

/**
 * Whether these programs lack something that the earlier ones have, and have nothing that those lack: under the table that
 * is there they would let pass what its rules about names, rates or connections do not.
 */
export function doesLess(globals: ProgramSpec["globals"], earlier: PlanPart | undefined): boolean {
  const [program] = earlier?.programs ?? [];
  if (program === undefined) return false;
  const names = Object.keys(globals).filter((name) => typeof globals[name] === "boolean");
  const isLost = (name: string): boolean => program.globals[name] === true && globals[name] === false;
  const isWon = (name: string): boolean => program.globals[name] === false && globals[name] === true;
  return names.some(isLost) && !names.some(isWon);
}
