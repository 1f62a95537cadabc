import { decodeAddress, type Address } from "./address.ts";
import { decodeLink, type Link } from "./link.ts";
import type { NetlinkMessage } from "./message.ts";
import { decodeNeighbour, type Neighbour } from "./neighbour.ts";
import { routeTypesBase } from "./request.ts";
import { decodeRoute, type Route } from "./route.ts";
import { decodeFilter, decodeQdisc, type Qdisc, type TcFilter } from "./traffic-control.ts";

/** One row of a dump, or what an event says. */
export type RouteItem =
  | { readonly table: "link"; readonly link: Link }
  | { readonly table: "address"; readonly address: Address }
  | { readonly table: "route"; readonly route: Route }
  | { readonly table: "neighbour"; readonly neighbour: Neighbour }
  | { readonly table: "qdisc"; readonly qdisc: Qdisc }
  | { readonly table: "filter"; readonly filter: TcFilter };

/** `there` is a new row or a change of one. */
export type RouteEvent = RouteItem & { readonly change: "there" | "gone" };

/** `undefined` for messages of other tables and families than ours. */
export function decodeEvent(message: NetlinkMessage): RouteEvent | undefined {
  for (const [table, first] of Object.entries(routeTypesBase)) {
    if (message.type !== first && message.type !== first + 1) continue;
    const item = decodeItem(table as keyof typeof routeTypesBase, message);
    return item === undefined ? undefined : { ...item, change: message.type === first ? "there" : "gone" };
  }
  return undefined;
}

function decodeItem(table: keyof typeof routeTypesBase, message: NetlinkMessage): RouteItem | undefined {
  switch (table) {
    case "link": {
      const link = decodeLink(message);
      return link && { table, link };
    }
    case "address": {
      const address = decodeAddress(message);
      return address && { table, address };
    }
    case "route": {
      const route = decodeRoute(message);
      return route && { table, route };
    }
    case "neighbour": {
      const neighbour = decodeNeighbour(message);
      return neighbour && { table, neighbour };
    }
    case "qdisc":
      return { table, qdisc: decodeQdisc(message) };
    case "filter":
      return { table, filter: decodeFilter(message) };
  }
}
