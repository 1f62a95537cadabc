import { canonicalJson, fingerprint, type ObjectRef } from "@bpfleet/base";
import type { MapSpec } from "@bpfleet/kernel";
import {
  policyLayout,
  policyMaps,
  serviceDirectorySize,
  servicePortSize,
  translationSize,
} from "../generated/policy.ts";
import { linesInner, planLines } from "../table/line-maps.ts";
import type { WrittenTable } from "../table/write-table.ts";

/** Map name in the object, or role → key. */
export const serviceMapKeys = {
  services: "policy/services",
  lines: "policy/service-lines",
  translations: "policy/translations",
  affinities: "policy/affinities",
} as const;

const sizes = { translations: 1 << 17, affinities: 1 << 14 } as const;

const layout = fingerprint(canonicalJson([policyLayout, serviceDirectorySize, servicePortSize]));

export interface WrittenServices extends WrittenTable {
  readonly serial: bigint;
}

/** Without Services they are only named by the programs. */
export function planServiceMaps(
  services: WrittenServices | undefined,
  owner: ObjectRef,
): { readonly maps: readonly MapSpec[]; readonly names: Readonly<Record<string, string>> } {
  const keys = serviceMapKeys;
  const live = (["translations", "affinities"] as const).map((name): MapSpec => ({
    key: keys[name],
    name,
    definition: { ...policyMaps[name], maxEntries: services === undefined ? 1 : sizes[name] },
    contents: { kind: "live" },
    layout: String(translationSize),
    owner,
  }));
  const outer: MapSpec = {
    key: keys.services,
    name: "services",
    definition: policyMaps.services,
    contents: {
      kind: "refers",
      inner: linesInner,
      entries: services === undefined ? [] : [{ slot: 0, map: keys.lines }],
    },
    layout,
    owner,
  };
  return {
    maps: [
      ...live,
      ...(services === undefined
        ? []
        : [
            planLines({ key: keys.lines, name: "service_lines" }, services, { layout, serial: services.serial, owner }),
          ]),
      outer,
    ],
    names: { services: keys.services, translations: keys.translations, affinities: keys.affinities },
  };
}
