import { ServiceMemory } from "../services/resolve-services.ts";
import type { WrittenServices } from "../services/service-maps.ts";
import type { ServiceAddresses } from "../services/service-addresses.ts";
import type { Population } from "./population.ts";

/** The last answer, given again for as long as the question stays the same. */
export class LastAnswer<T> {
  #asked: readonly (readonly unknown[] | string)[] | undefined;
  #answer: T | undefined;

  /** Lists are the same where they hold the same values. What is answered is never changed. */
  to(asked: readonly (readonly unknown[] | string)[], find: () => T): T {
    if (this.#asked !== undefined && isSame(this.#asked, asked)) return this.#answer as T;
    // What is found may be large: the one before it goes first.
    this.#asked = undefined;
    this.#answer = undefined;
    const answer = find();
    this.#asked = asked;
    this.#answer = answer;
    return answer;
  }
}

/**
 * What one compilation leaves to the next of the same node: parts that an edit of policies leaves as they are. With it
 * or without it the table is the same.
 */
export class CompileMemory {
  readonly population = new LastAnswer<Population>();
  readonly serviceAddresses = new LastAnswer<ServiceAddresses>();
  readonly services = new LastAnswer<WrittenServices | undefined>();
  readonly servicePorts = new ServiceMemory();
}

function isSame(a: readonly (readonly unknown[] | string)[], b: readonly (readonly unknown[] | string)[]): boolean {
  return a.length === b.length && a.every((each, at) => isSameList(each, b[at]));
}

function isSameList(a: readonly unknown[] | string, b: readonly unknown[] | string | undefined): boolean {
  if (a === b) return true;
  if (b === undefined || typeof a === "string" || typeof b === "string" || a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}
