/**
 * An automaton over names of DNS, as bpf/include/policy-table.h has it: rows of next states, numbered from 1, by the
 * symbol of a character; in place of symbol 0 the class of the name that ends there.
 */
export interface NameAutomaton {
  /** `statePlaces` for each state. */
  readonly states: Uint16Array;
  /** Classes from 1 on of names by which peers are known. */
  readonly peerClasses: number;
  /** With class 0, which is of names that no pattern matches. */
  readonly classCount: number;
}

export const statePlaces = 64;
export const dotSymbol = 39;
const characters = "abcdefghijklmnopqrstuvwxyz0123456789-_.";

/** 0: no character of names. Lower case only. */
export function nameSymbol(character: string): number {
  return characters.indexOf(character) + 1;
}

/** What names the automaton tells apart `name` is; as the kernel reads names: in lower case, without the dot at the end. */
export function nameClassOf(states: Uint16Array, name: string): number {
  let state = 1;
  for (const character of name) {
    const symbol = nameSymbol(character);
    state = symbol === 0 ? 0 : (states[(state - 1) * statePlaces + symbol] ?? 0);
    if (state === 0) return 0;
  }
  return states[(state - 1) * statePlaces] ?? 0;
}
