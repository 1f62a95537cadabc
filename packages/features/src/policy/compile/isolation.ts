import type { Origin } from "@bpfleet/base";
import type { CompiledPolicy } from "./compile-policy.ts";
import type { Policy } from "../policy.ts";
import { decidingOf, enforcedOf } from "./statements.ts";
import type { Direction } from "./read-rule.ts";

/** Which statements keep from whom what no rule allows. */
export interface Isolation {
  /** Of all pods of this node. */
  readonly statements: readonly Origin[];
  /** By the index of the interface: indexes in `statements`. */
  readonly of: ReadonlyMap<number, Readonly<Record<Direction, readonly number[]>>>;
}

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
  const of = new Map<number, Record<Direction, readonly number[]>>();
  for (const pod of pods) {
    if (!pod.facts?.found) continue;
    const before = of.get(pod.facts.ifindex) ?? { ingress: [], egress: [] };
    const isolating = (direction: Direction): readonly number[] => {
      const own = mode === "shadow" ? pod.statements : enforcedOf(pod.statements, selection.statements);
      const deciding = decidingOf(own, selection.statements, direction).flat();
      const numbers = deciding.filter((number) => selection.statements[number]?.intent.policy.mode === mode);
      const places = numbers.flatMap((number) => {
        const { statement } = selection.statements[number] ?? {};
        return statement?.[direction].isDefaultDeny === true ? [placeOf(number, statement.origin)] : [];
      });
      return [...new Set([...before[direction], ...places])];
    };
    of.set(pod.facts.ifindex, { ingress: isolating("ingress"), egress: isolating("egress") });
  }
  return { statements, of };
}
