import { compareText, encodeUtf8 } from "@bpfleet/base";
import { nodeStateLimits } from "./schema.ts";
import type {
  NodeStateLink,
  NodeStateMap,
  NodeStateProgram,
  NodeStateResult,
  NodeStateResultState,
  NodeStateStatus,
} from "./schema.ts";

/** All that a node has to say, however much it is. */
export interface NodeFindings extends Pick<NodeStateStatus, "observedAt" | "versions" | "conditions" | "isPaused"> {
  readonly results: readonly NodeStateResult[];
  readonly programs: readonly NodeStateProgram[];
  readonly maps: readonly NodeStateMap[];
  readonly links: readonly NodeStateLink[];
}

/** What stays when not all fits: trouble before what is fine. */
const weights: Readonly<Record<NodeStateResultState, number>> = {
  Failed: 0,
  Waiting: 1,
  Pending: 2,
  NotServed: 3,
  InForce: 4,
  NotSelected: 5,
};

/** Two thirds of the object are for what became of objects; what they leave is the inventory's. */
const resultShare = 2 / 3;

/** The status of a NodeState: as much of the findings as one object can hold, in an order that stays. */
export function boundNodeState(findings: NodeFindings): NodeStateStatus {
  const { results, programs, maps, links, observedAt, versions, conditions, isPaused } = findings;
  const head: NodeStateStatus = {
    ...(observedAt !== undefined && { observedAt }),
    ...(versions !== undefined && { versions }),
    ...(isPaused !== undefined && { isPaused }),
    objects: countStates(results),
    ...(conditions !== undefined && { conditions: conditions.slice(0, nodeStateLimits.conditions) }),
  };
  const total = { programs: programs.length, maps: maps.length, links: links.length };
  const room = nodeStateLimits.bytes - sizeOf(head) - sizeOf({ total, omitted: total }) - 256;
  const said = results.map(boundResult).toSorted((a, b) => compareText(refText(a), refText(b)));
  const kept = take(said, ({ state }) => weights[state], nodeStateLimits.results, room * resultShare);
  const left = { bytes: room - kept.bytes };
  const spend = <T extends { readonly id: number; readonly isOurs: boolean }>(
    items: readonly T[],
    most: number,
  ): T[] => {
    const taken = take(
      items.toSorted((a, b) => a.id - b.id),
      ({ isOurs }) => (isOurs ? 0 : 1),
      most,
      left.bytes,
    );
    left.bytes -= taken.bytes;
    return taken.items;
  };
  const inventory = {
    programs: spend(programs, nodeStateLimits.programs),
    links: spend(links, nodeStateLimits.links),
    maps: spend(maps, nodeStateLimits.maps),
  };
  return {
    ...head,
    results: kept.items,
    omittedResults: results.length - kept.items.length,
    inventory: {
      total,
      omitted: {
        programs: programs.length - inventory.programs.length,
        maps: maps.length - inventory.maps.length,
        links: links.length - inventory.links.length,
      },
      ...inventory,
    },
  };
}

function boundResult(result: NodeStateResult): NodeStateResult {
  const { conditions, numbers, texts } = result;
  const names = Object.keys(numbers);
  return {
    ...result,
    conditions: conditions
      .slice(0, nodeStateLimits.conditions)
      .map((condition) => ({ ...condition, message: cut(condition.message, nodeStateLimits.messageLength) })),
    numbers:
      names.length <= nodeStateLimits.numbers
        ? numbers
        : Object.fromEntries(Object.entries(numbers).slice(0, nodeStateLimits.numbers)),
    ...(texts !== undefined && {
      texts: Object.fromEntries(
        Object.entries(texts)
          .slice(0, nodeStateLimits.texts)
          .map(([pointer, value]) => [pointer, cut(value, nodeStateLimits.textLength)]),
      ),
    }),
  };
}

/** As many characters as an API server counts; one that is cut ends with `…`. */
function cut(message: string, most: number): string {
  const characters = [...message];
  return characters.length <= most ? message : `${characters.slice(0, most - 1).join("")}…`;
}

/** Those with the least weight that fit, in their own order. */
function take<T>(
  items: readonly T[],
  weightOf: (item: T) => number,
  most: number,
  room: number,
): { readonly items: T[]; readonly bytes: number } {
  const order = items.map((item, at) => ({ item, at, weight: weightOf(item) }));
  const kept: typeof order = [];
  let bytes = 0;
  for (const each of order.toSorted((a, b) => a.weight - b.weight || a.at - b.at)) {
    if (kept.length === most) break;
    const size = sizeOf(each.item) + 1;
    if (bytes + size > room) break;
    bytes += size;
    kept.push(each);
  }
  return { items: kept.toSorted((a, b) => a.at - b.at).map(({ item }) => item), bytes };
}

function sizeOf(value: unknown): number {
  return encodeUtf8(JSON.stringify(value)).length;
}

function countStates(results: readonly NodeStateResult[]): NonNullable<NodeStateStatus["objects"]> {
  const of = (state: NodeStateResultState): number => results.filter((result) => result.state === state).length;
  return {
    total: results.length,
    inForce: of("InForce"),
    waiting: of("Waiting"),
    failed: of("Failed"),
    pending: of("Pending"),
    notSelected: of("NotSelected"),
    notServed: of("NotServed"),
  };
}

function refText({ group, kind, namespace, name }: NodeStateResult): string {
  return `${group}/${kind}/${namespace}/${name}`;
}
