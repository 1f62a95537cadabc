import type { ObjectRef } from "@bpfleet/base";
import type {
  FeatureInstance,
  HookMember,
  HookPoint,
  HookSpec,
  MapContents,
  MapDefinition,
  MapEntries,
  MapReference,
  MapSpec,
  ProgramSpec,
} from "@bpfleet/kernel";

/** A field, or the fields of what it holds: one thing, or a list of such. */
interface Shape {
  readonly [field: string]: true | Shape;
}

type KeysOf<T> = T extends unknown ? keyof T : never;
/** Every field of T, or of any of a union: a new one in the type is to be named here too. */
type FieldsOf<T> = Readonly<Record<KeysOf<T> & string, true | Shape>>;

const ref: FieldsOf<ObjectRef> = { group: true, kind: true, namespace: true, name: true };

const definition: FieldsOf<MapDefinition> = {
  type: true,
  keySize: true,
  valueSize: true,
  maxEntries: true,
  flags: true,
};

const entries: FieldsOf<MapEntries | MapReference> = { count: true, keys: true, values: true, slot: true, map: true };

const contents: FieldsOf<MapContents> = {
  kind: true,
  digest: true,
  entries,
  prune: true,
  inner: definition,
  takesAnySize: true,
  isBeforePrograms: true,
};

const map: FieldsOf<MapSpec> = {
  key: true,
  name: true,
  definition,
  contents,
  pinPath: true,
  layout: true,
  types: { key: true, value: true } satisfies FieldsOf<NonNullable<MapSpec["types"]>>,
  declaredIn: {
    object: { name: true, digest: true } satisfies FieldsOf<ProgramSpec["object"]>,
    map: true,
  } satisfies FieldsOf<NonNullable<MapSpec["declaredIn"]>>,
  owner: ref,
  carries: true,
};

const program: FieldsOf<ProgramSpec> = {
  key: true,
  name: true,
  type: true,
  object: { name: true, digest: true } satisfies FieldsOf<ProgramSpec["object"]>,
  entry: true,
  attachTarget: true,
  takesFragments: true,
  globals: true,
  maps: true,
  owner: ref,
};

const point: FieldsOf<HookPoint> = {
  hook: true,
  interface: true,
  direction: true,
  path: true,
  attach: true,
  member: true,
  name: true,
  function: true,
  offset: true,
  binary: true,
};

const hook: FieldsOf<HookSpec> = {
  key: true,
  point,
  members: { program: true, priority: true, proceedOn: true } satisfies FieldsOf<HookMember>,
};

const instance: FieldsOf<FeatureInstance> = {
  feature: true,
  owner: ref,
  key: true,
  programs: true,
  maps: true,
  rules: true,
  hooks: true,
  data: true,
};

const sections: Readonly<Record<string, Shape>> = { maps: map, programs: program, hooks: hook, instances: instance };

/** The first field of an item that this version has no meaning for: left aside, the item would be another one. */
export function strangeField(section: string, item: unknown): string | undefined {
  const shape = sections[section];
  return shape && strangeIn(item, shape, "");
}

function strangeIn(value: unknown, shape: Shape, at: string): string | undefined {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return undefined;
  if (Array.isArray(value)) {
    for (const [index, each] of value.entries()) {
      const strange = strangeIn(each, shape, `${at}[${index}]`);
      if (strange !== undefined) return strange;
    }
    return undefined;
  }
  for (const [name, field] of Object.entries(value)) {
    const place = at === "" ? name : `${at}.${name}`;
    const known = Object.hasOwn(shape, name) ? shape[name] : undefined;
    if (known === undefined) return place;
    const strange = known === true ? undefined : strangeIn(field, known, place);
    if (strange !== undefined) return strange;
  }
  return undefined;
}
