export { compileWorld, type CompiledWorld } from "./compiled-world.ts";
export { minimise, type Counterexample } from "./minimise.ts";
export { ClauseCounts, randomCases, type JudgedPacket, type RandomCase } from "./random-cases.ts";
export { bitsOf } from "./reference-addresses.ts";
export { judge, mayConnect, mayPass, type Because, type Judgement } from "./reference.ts";
export { tellCounterexample } from "./tell-counterexample.ts";
export { noOtherTiers } from "./world.ts";
export type * from "./world.ts";
