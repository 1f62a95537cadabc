import type { Counterexample } from "./minimise.ts";
import { renderObjects } from "./read-objects.ts";

/** For people to read: who there is and what is sent, and the objects as somebody would apply them. */
export function tellCounterexample({ world, packet, ...written }: Counterexample, more: object): string {
  return `${JSON.stringify({ ...more, packet, world }, undefined, 1)}\n${renderObjects(written)}`;
}
