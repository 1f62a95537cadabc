import type { Origin } from "@bpfleet/base";
import type { CompiledPolicy } from "./compile-policy.ts";
import type { Policy } from "../policy.ts";
import { decidingOf, enforcedOf } from "./statements.ts";
import type { Direction } from "./read-rule.ts";

/** Which statements keep from whom what no rule allows. */
export interface Isolation {
  /** Of all pods of this node. */
  readonly statements: readonly Origin[];
  /** By the index of the interface: indexes in `statements`. One record for all whom the same statements select. */
  readonly of: ReadonlyMap<number, Isolating>;
}

type Isolating = Readonly<Record<Direction, readonly number[]>>;

export function isolationOf(
  { pods, selection }: Pick<CompiledPolicy, "pods" | "selection">,
  mode: Policy["mode"] = "enforce",
): Isolation {
  const statements: Origin[] = [];
  const known = new Map<number, number>();
  const placeOf = (number: number, origin: Origin): number => {
    const place = known.get(number);
    if (place !== undefined) return place;
    known.set(number, statements.length);
    return statements.push(origin) - 1;
  };
  const isolating = (selecting: readonly number[], direction: Direction): readonly number[] => {
    const own = mode === "shadow" ? selecting : enforcedOf(selecting, selection.statements);
    const deciding = decidingOf(own, selection.statements, direction).flat();
    const numbers = deciding.filter((number) => selection.statements[number]?.intent.policy.mode === mode);
    const places = numbers.flatMap((number) => {
      const { statement } = selection.statements[number] ?? {};
      return statement?.[direction].isDefaultDeny === true ? [placeOf(number, statement.origin)] : [];
    });
    return [...new Set(places)];
  };
  const bySelecting = new Map<readonly number[], Isolating>();
  const of = new Map<number, Isolating>();
  for (const { facts, statements: selecting } of pods) {
    if (!facts?.found) continue;
    let own = bySelecting.get(selecting);
    if (own === undefined) {
      own = { ingress: isolating(selecting, "ingress"), egress: isolating(selecting, "egress") };
      bySelecting.set(selecting, own);
    }
    const before = of.get(facts.ifindex);
    of.set(facts.ifindex, before === undefined ? own : together(before, own));
  }
  return { statements, of };
}

/** Of pods that share an interface. */
function together(a: Isolating, b: Isolating): Isolating {
  return {
    ingress: [...new Set([...a.ingress, ...b.ingress])],
    egress: [...new Set([...a.egress, ...b.egress])],
  };
}
