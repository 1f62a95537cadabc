import {
  emptyPlan,
  renderHookKey,
  type FeatureInstance,
  type HookSpec,
  type MapEntries,
  type MapSpec,
  type NodePlan,
  type ProgramSpec,
  type RuleRef,
} from "@bpfleet/kernel";

/** Plans that a kernel in memory takes. */

const owner = { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name: "a" };

export function liveMap(key: string): MapSpec {
  const definition = { type: "hash", keySize: 4, valueSize: 8, maxEntries: 8, flags: 0 } as const;
  return { key, name: "m", definition, contents: { kind: "live" }, owner };
}

/** `count` entries of four bytes each; `digest` as the number of the first. */
export function sealedMap(key: string, count: number, first = 0): MapSpec {
  const entries = packed(count, first);
  const definition = { type: "hash", keySize: 4, valueSize: 4, maxEntries: Math.max(1, count), flags: 0 } as const;
  return { key, name: "s", definition, contents: { kind: "sealed", digest: `${first}/${count}`, entries }, owner };
}

/** Takes maps like this one. */
export function referringMap(key: string, like: MapSpec, slots: Readonly<Record<number, string>>): MapSpec {
  const definition = { type: "array_of_maps", keySize: 4, valueSize: 4, maxEntries: 4, flags: 0 } as const;
  const entries = Object.entries(slots).map(([slot, map]) => ({ slot: Number(slot), map }));
  return { key, name: "r", definition, contents: { kind: "refers", inner: like.definition, entries }, owner };
}

function packed(count: number, first: number): MapEntries {
  const keys = Uint32Array.from({ length: count }, (_, at) => first + at);
  const bytes = new Uint8Array(keys.buffer);
  return { count, keys: bytes, values: bytes.toReversed() };
}

export function program(key: string, maps: readonly string[], globals: ProgramSpec["globals"] = {}): ProgramSpec {
  const named = Object.fromEntries(maps.map((name) => [name, name]));
  return { key, name: "p", type: "xdp", object: { name: "o", digest: "d" }, entry: "e", globals, maps: named, owner };
}

export function xdpHook(name: string, ...programs: readonly string[]): HookSpec {
  const point = { hook: "xdp", interface: name } as const;
  const members = programs.map((each, priority) => ({ program: each, priority, proceedOn: [2] }));
  return { key: renderHookKey(point), point, members };
}

export function instance(key: string, ruleCount: number): FeatureInstance {
  const rules = Array.from({ length: ruleCount }, (_, at): RuleRef => {
    const position = at % 2 === 0 ? undefined : { file: "a.yaml", line: at + 1, column: 3 };
    return {
      index: at + 1,
      id: `${at}`,
      text: `10.0.0.${at}`,
      origin: { object: owner, path: `/spec/${at}`, position },
    };
  });
  return { feature: "counting", owner, key, programs: ["p"], maps: {}, rules, data: { text: "x", big: 5n } };
}

/** One program over one map on each of these interfaces. */
export function planOn(names: readonly string[], more: Partial<NodePlan> = {}): NodePlan {
  return {
    ...emptyPlan,
    maps: [liveMap("m")],
    programs: [program("p", ["m"], { flag: true, big: 2n ** 63n, bytes: Uint8Array.of(1, 2) })],
    hooks: names.map((name) => xdpHook(name, "p")),
    ...more,
  };
}
