import type { Origin } from "@bpfleet/base";
import type { CompiledPolicy } from "./compile-policy.ts";
import { decidingOf } from "./statements.ts";
import type { Direction } from "./read-rule.ts";

/** Which statements keep from whom what no rule allows. */
export interface Isolation {
  /** Of all pods of this node. */
  readonly statements: readonly Origin[];
  /** By the index of the interface: indexes in `statements`. */
  readonly of: ReadonlyMap<number, Readonly<Record<Direction, readonly number[]>>>;
}

export function isolationOf({ pods, selection }: Pick<CompiledPolicy, "pods" | "selection">): Isolation {
  const statements: Origin[] = [];
  const places = new Map<number, number>();
  const placeOf = (number: number, origin: Origin): number => {
    const known = places.get(number);
    if (known !== undefined) return known;
    places.set(number, statements.length);
    return statements.push(origin) - 1;
  };
  const of = new Map<number, Record<Direction, readonly number[]>>();
  for (const pod of pods) {
    if (!pod.facts?.found) continue;
    const before = of.get(pod.facts.ifindex) ?? { ingress: [], egress: [] };
    const isolating = (direction: Direction): readonly number[] => {
      const numbers = decidingOf(pod.statements, selection.statements, direction).flat();
      const own = numbers.flatMap((number) => {
        const { statement } = selection.statements[number] ?? {};
        return statement?.[direction].isDefaultDeny === true ? [placeOf(number, statement.origin)] : [];
      });
      return [...new Set([...before[direction], ...own])];
    };
    of.set(pod.facts.ifindex, { ingress: isolating("ingress"), egress: isolating("egress") });
  }
  return { statements, of };
}
