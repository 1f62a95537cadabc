import type { KubeObject } from "../../kind.ts";
import { append, fieldsAt, listAt, takeOut, type DeniedWish, type Fields, type PolicyEdit } from "./edit.ts";
import { mayMeanPort, meansAddress } from "./may-mean.ts";

/** An exception of a CIDR, one port or one peer less, or the whole rule; `at` is the place of the rule. */
export function ciliumDenialEdits(object: KubeObject, at: string, wish: DeniedWish): readonly PolicyEdit[] {
  const rule = fieldsAt(object, at);
  const { direction, peer } = wish;
  const way = direction === "ingress" ? "from" : "to";
  const exceptions = listAt(rule, `${way}CIDRSet`).flatMap(({ cidr }, index) =>
    meansAddress(cidr, peer.cidr, true) ? [append(object, `${at}/${way}CIDRSet/${index}/except`, peer.cidr)] : [],
  );
  const places = [...portPlaces(rule, wish), ...peerPlaces(rule, way, peer.cidr)];
  return [...exceptions, ...[...places.map((place) => `${at}/${place}`), at].map((place) => takeOut(object, place))];
}

/** Where ports and types stand that may mean it; of a rule with but one of them nothing, since without any it means more. */
function portPlaces(rule: Fields, { carries }: DeniedWish): readonly string[] {
  const lists = [
    { field: "toPorts", item: "ports" },
    { field: "icmps", item: "fields" },
  ].flatMap(({ field, item }) => listAt(rule, field).map((each, index) => ({ at: `${field}/${index}`, each, item })));
  return lists.flatMap(({ at, each, item }) => {
    const items = listAt(each, item);
    const isNeeded = items.length === 1 && lists.length === 1;
    return items.flatMap((port, index) =>
      isNeeded || !mayMeanPort(port, carries) ? [] : [items.length === 1 ? at : `${at}/${item}/${index}`],
    );
  });
}

/** The same of peers; an empty list of peers means nobody, whatever stands beside it, so it goes whole. */
function peerPlaces(rule: Fields, way: "from" | "to", address: string): readonly string[] {
  const fields = Object.keys(rule).filter(
    (name) => name.startsWith(way) && name !== "toPorts" && listAt(rule, name).length > 0,
  );
  return fields.flatMap((field) => {
    const items = listAt(rule, field) as readonly unknown[];
    if (items.length === 1) return fields.length === 1 ? [] : [field];
    return items.flatMap((item, index) => (isElsewhere(item, address) ? [] : [`${field}/${index}`]));
  });
}

/** Addresses of which this is none. */
function isElsewhere(item: unknown, address: string): boolean {
  const block = typeof item === "string" ? item : (item as Fields)["cidr"];
  return typeof block === "string" && /[.:]/.test(block) && !meansAddress(block, address);
}
