/** Each switch on or off. */
export type Combination = Readonly<Record<string, boolean>>;

/** A few combinations of switches in which every two of them are met in each of their four positions; and all on, all off. */
export function everyPair(switches: readonly string[]): readonly Combination[] {
  const all = (on: boolean): Combination => Object.fromEntries(switches.map((name) => [name, on]));
  const chosen = [all(true), all(false)];
  const missing = new Set(switches.flatMap((a, at) => switches.slice(at + 1).flatMap((b) => positionsOf(a, b))));
  for (const each of chosen) for (const met of pairsOf(each)) missing.delete(met);
  while (missing.size > 0) {
    const next = bestOf(switches, missing);
    for (const met of pairsOf(next)) missing.delete(met);
    chosen.push(next);
  }
  return chosen;
}

function positionsOf(a: string, b: string): readonly string[] {
  return [true, false].flatMap((ofA) => [true, false].map((ofB) => pair(a, ofA, b, ofB)));
}

function pairsOf(combination: Combination): readonly string[] {
  const entries = Object.entries(combination);
  return entries.flatMap(([a, ofA], at) => entries.slice(at + 1).map(([b, ofB]) => pair(a, ofA, b, ofB)));
}

function pair(a: string, ofA: boolean, b: string, ofB: boolean): string {
  return `${a}=${ofA} ${b}=${ofB}`;
}

/** Switches are few: all their positions are tried. */
function bestOf(switches: readonly string[], missing: ReadonlySet<string>): Combination {
  let best: Combination = {};
  let most = -1;
  for (let bits = 0; bits < 1 << switches.length; bits++) {
    const tried = Object.fromEntries(switches.map((name, at) => [name, (bits & (1 << at)) !== 0]));
    const count = pairsOf(tried).filter((each) => missing.has(each)).length;
    if (count > most) [best, most] = [tried, count];
  }
  return best;
}
