import type { KubeObject } from "../../kind.ts";
import { append, fieldsAt, insertBefore, listAt, takeOut } from "./edit.ts";
import type { DeniedWish, EditTraffic, Fields, PolicyEdit } from "./edit.ts";
import { mayMeanPort, meansAddress } from "./may-mean.ts";
import { selectPeer } from "./network-policy-edits.ts";

/**
 * Where the first rule that is met decides: an exception of a CIDR, one port or one peer less, the whole rule, a rule
 * before it, or another port of one before it that allows; `at` is the place of the rule that denies.
 */
export function orderedDenialEdits(object: KubeObject, at: string, wish: DeniedWish): readonly PolicyEdit[] {
  const rule = fieldsAt(object, at);
  const side = wish.direction === "ingress" ? "from" : "to";
  const peers = listAt(rule, side);
  const ports = listAt(rule, "ports");
  const blocks = [
    { block: rule["ipBlock"], place: `${at}/ipBlock` },
    ...peers.map(({ ipBlock }, index) => ({ block: ipBlock, place: `${at}/${side}/${index}/ipBlock` })),
  ];
  const exceptions = blocks.flatMap(({ block, place }) =>
    meansAddress((block as Fields | undefined)?.["cidr"], wish.peer.cidr, true)
      ? [append(object, `${place}/except`, wish.peer.cidr)]
      : [],
  );
  const gone = [
    ...ports.flatMap((port, index) =>
      ports.length > 1 && mayMeanPort(port, wish.carries) ? [`${at}/ports/${index}`] : [],
    ),
    ...peers.flatMap(({ ipBlock }, index) =>
      peers.length > 1 && (ipBlock === undefined || meansAddress((ipBlock as Fields)["cidr"], wish.peer.cidr))
        ? [`${at}/${side}/${index}`]
        : [],
    ),
    at,
  ];
  return [...exceptions, ...gone.map((place) => takeOut(object, place)), ...allowedBefore(object, at, wish)];
}

function allowedBefore(object: KubeObject, at: string, wish: DeniedWish): readonly PolicyEdit[] {
  const { carries } = wish;
  if (carries === undefined) return [];
  const cut = at.lastIndexOf("/");
  const list = at.slice(0, cut);
  const before = (fieldsAt(object, list) as unknown as readonly Fields[]).slice(0, Number(at.slice(cut + 1)));
  const port = portOf(object, carries);
  const isPlain = ({ action = "allow", rateLimit }: Fields): boolean => action === "allow" && rateLimit === undefined;
  const ports = before.flatMap((rule, index) =>
    port !== undefined && isPlain(rule) && listAt(rule, "ports").length > 0
      ? [append(object, `${list}/${index}/ports`, port)]
      : [],
  );
  const rule = { ...peerOf(object, wish), ...(port !== undefined && { ports: [port] }), action: "allow" };
  return [insertBefore(object, at, rule), ...ports];
}

/** Of other protocols nothing can be said but all or none. */
function portOf({ kind }: KubeObject, carries: EditTraffic): Fields | undefined {
  if (carries.protocol === "ICMP") return kind === "EBPFNetworkPolicy" ? { protocol: "ICMP" } : undefined;
  return carries.protocol === "SCTP" ? undefined : { port: carries.port, protocol: carries.protocol };
}

function peerOf({ kind, metadata }: KubeObject, { direction, peer }: DeniedWish): Fields {
  if (kind === "EBPFContainerPolicy") return { ipBlock: { cidr: peer.cidr } };
  return { [direction === "ingress" ? "from" : "to"]: [selectPeer(metadata.namespace ?? "default", peer)] };
}
