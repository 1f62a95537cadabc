export { bitsOf, judge, mayConnect, type Because, type Judgement } from "./reference.ts";
export type * from "./world.ts";
