import type { NamePattern } from "../policy.ts";
import { dotSymbol, nameSymbol, statePlaces, type NameAutomaton } from "../table/name-automaton.ts";
import type { TableNames } from "../table/policy-table.ts";
import { Digest } from "./digest.ts";

/** The patterns are too many, or tell too much apart. */
export class TooManyNamesError extends RangeError {}

/** Patterns of names, numbered, and what peers and questions make of them. */
export class Names {
  readonly #numbers = new Map<string, number>();
  readonly #patterns: NamePattern[] = [];
  readonly #ofPeers = new Set<number>();
  readonly #sets = new Map<string, number>();
  readonly sets: (readonly number[])[] = [];

  /** Of a pattern that peers are known by. */
  peer(pattern: NamePattern): number {
    const number = this.#number(pattern);
    this.#ofPeers.add(number);
    return number;
  }

  /** Of names that may be asked for. */
  set(patterns: readonly NamePattern[]): number {
    return this.#setOf(patterns.map((each) => this.#number(each)));
  }

  /** Of all names that may be asked for by any of some sets. */
  unite(sets: readonly number[]): number {
    return this.#setOf(sets.flatMap((set) => this.sets[set] ?? []));
  }

  #setOf(patterns: readonly number[]): number {
    const numbers = [...new Set(patterns)].toSorted((a, b) => a - b);
    const key = numbers.join();
    const known = this.#sets.get(key);
    if (known !== undefined) return known;
    this.#sets.set(key, this.sets.length);
    this.sets.push(numbers);
    return this.sets.length - 1;
  }

  #number(pattern: NamePattern): number {
    const key = `${pattern.is} ${pattern.text}`;
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    this.#numbers.set(key, this.#patterns.length);
    this.#patterns.push(pattern);
    return this.#patterns.length - 1;
  }

  /** Of a list without names too: where nobody looks at questions, each of them passes. */
  get isUsed(): boolean {
    return this.#patterns.length + this.sets.length > 0;
  }

  numberOf(pattern: NamePattern): number {
    return this.#number(pattern);
  }

  /** Throws `TooManyNamesError`. */
  compile(mostStates: number): CompiledNames {
    return compileNames(this.#patterns, this.#ofPeers, mostStates);
  }
}

export interface CompiledNames {
  readonly automaton: NameAutomaton;
  /** By class: numbers of the patterns that match its names, ascending. */
  readonly patternsOf: readonly (readonly number[])[];
}

/** The table's part of it; call it when all sets are there. */
export function tableNames(names: Names, { automaton, patternsOf }: CompiledNames, worldClasses: number): TableNames {
  const sets = names.sets.map((patterns) => {
    const isNamed = new Set(patterns);
    const bits = new Uint8Array(Math.ceil(automaton.classCount / 8));
    for (const [number, found] of patternsOf.entries())
      if (found.some((pattern) => isNamed.has(pattern)))
        bits[number >> 3] = (bits[number >> 3] ?? 0) | (1 << (number & 7));
    return bits;
  });
  const digest = new Digest();
  digest.add(automaton.peerClasses);
  digest.addAll(automaton.states);
  return { serial: digest.value & 0xffff_ffff_ffffn, automaton, worldClasses, sets };
}

/** One step through a pattern. */
type Token =
  | { readonly takes: "symbol"; readonly symbol: number }
  /** A character that is no dot. */
  | { readonly takes: "character" }
  /** Any number of characters that are no dots. */
  | { readonly takes: "part" }
  /** Anything. */
  | { readonly takes: "rest" };

function tokensOf({ is, text }: NamePattern): readonly Token[] {
  if (is === "pattern" && (text === "*" || text === "**")) return [{ takes: "rest" }];
  const tokens: Token[] = [];
  let at = 0;
  if (is === "pattern" && text.startsWith("**.")) {
    tokens.push({ takes: "character" }, { takes: "rest" });
    at = 2;
  }
  for (; at < text.length; at++) {
    const character = text.charAt(at);
    if (is === "pattern" && character === "*") {
      if (tokens.at(-1)?.takes !== "part") tokens.push({ takes: "part" });
    } else {
      tokens.push({ takes: "symbol", symbol: nameSymbol(character) });
    }
  }
  return tokens;
}

/** A place in one pattern: its number and how many tokens are behind it. */
const placesOfPattern = 512;

/** All states that names lead to, from sets of places. */
function compileNames(
  patterns: readonly NamePattern[],
  ofPeers: ReadonlySet<number>,
  mostStates: number,
): CompiledNames {
  const tokens = patterns.map(tokensOf);
  const places: number[][] = [];
  const numbers = new Map<string, number>();
  const numberOf = (set: ReadonlySet<number>): number => {
    if (set.size === 0) return 0;
    const sorted = [...set].toSorted((a, b) => a - b);
    const key = sorted.join();
    const known = numbers.get(key);
    if (known !== undefined) return known;
    if (places.length === mostStates)
      throw new TooManyNamesError(
        `the names of this node's policies take more than ${mostStates} states to tell apart`,
      );
    places.push(sorted);
    numbers.set(key, places.length);
    return places.length;
  };
  /** With the places that are reached from there without a character. */
  const add = (set: Set<number>, pattern: number, place: number): void => {
    for (let at = place; ; at++) {
      set.add(pattern * placesOfPattern + at);
      const takes = tokens[pattern]?.[at]?.takes;
      if (takes !== "part" && takes !== "rest") return;
    }
  };
  const start = new Set<number>();
  for (const pattern of patterns.keys()) add(start, pattern, 0);
  numberOf(start);
  // Without patterns, a state that leads nowhere.
  if (start.size === 0) places.push([]);
  const rows: number[][] = [];
  const accepted: (readonly number[])[] = [];
  for (let state = 0; state < places.length; state++) {
    const next: Set<number>[] = [];
    const accepts: number[] = [];
    const go = (symbol: number, pattern: number, place: number): void => {
      add((next[symbol] ??= new Set()), pattern, place);
    };
    for (const each of places[state] ?? []) {
      const pattern = Math.floor(each / placesOfPattern);
      const place = each % placesOfPattern;
      const token = tokens[pattern]?.[place];
      if (token === undefined) accepts.push(pattern);
      else if (token.takes === "symbol") go(token.symbol, pattern, place + 1);
      else
        for (let symbol = 1; symbol <= dotSymbol; symbol++)
          if (symbol !== dotSymbol || token.takes === "rest")
            go(symbol, pattern, token.takes === "character" ? place + 1 : place);
    }
    accepted.push(accepts);
    // What has symbol 0 is no character of names.
    rows.push(
      Array.from({ length: dotSymbol + 1 }, (_, symbol) => (symbol === 0 ? 0 : numberOf(next[symbol] ?? nothing))),
    );
  }
  return finish(rows, accepted, ofPeers);
}

const nothing: ReadonlySet<number> = new Set();

/** Classes of names that peers are known by come first. */
function finish(
  rows: readonly (readonly number[])[],
  accepted: readonly (readonly number[])[],
  ofPeers: ReadonlySet<number>,
): CompiledNames {
  const sets = new Map(accepted.filter((each) => each.length > 0).map((each) => [each.join(), each]));
  const isOfPeers = (set: readonly number[]): boolean => set.some((pattern) => ofPeers.has(pattern));
  const all = [...sets.values()];
  const ordered = [...all.filter(isOfPeers), ...all.filter((set) => !isOfPeers(set))];
  const classes = new Map(ordered.map((set, at) => [set.join(), at + 1]));
  const states = new Uint16Array(rows.length * statePlaces);
  for (const [state, row] of rows.entries()) {
    states.set(row, state * statePlaces);
    states[state * statePlaces] = classes.get((accepted[state] ?? []).join()) ?? 0;
  }
  const peerClasses = all.filter(isOfPeers).length;
  return { automaton: { states, peerClasses, classCount: ordered.length + 1 }, patternsOf: [[], ...ordered] };
}
