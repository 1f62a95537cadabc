import type { PolicyState } from "@bpfleet/agent";
import { renderTable } from "@bpfleet/base";
import type { ForgottenNames, LearntName, NameEvents } from "@bpfleet/features";
import { renderAddress } from "@bpfleet/kinds";

export interface ListedName {
  /** `namespace/name`. */
  readonly pod: string;
  readonly name: string;
  readonly address: string;
  /** Connections may be opened for so long; open ones live on. */
  readonly secondsLeft: number;
}

/** Those of pods that are there, by pod and name. */
export function listNames(
  names: readonly LearntName[],
  { data }: Pick<PolicyState, "data">,
  nowNs: bigint,
): readonly ListedName[] {
  return names
    .flatMap(({ ifindex, address, name, untilNs }): ListedName[] => {
      const endpoint = data?.endpoints.find((each) => each.ifindex === ifindex);
      if (endpoint === undefined) return [];
      const secondsLeft = Math.max(0, Number((untilNs - nowNs) / 1_000_000_000n));
      return [{ pod: `${endpoint.namespace}/${endpoint.pod}`, name, address: renderAddress(address), secondsLeft }];
    })
    .toSorted((a, b) => compare(a.pod, b.pod) || compare(a.name, b.name) || compare(a.address, b.address));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function renderNames(names: readonly ListedName[]): string {
  return renderTable(
    ["POD", "NAME", "ADDRESS", "LEFT"],
    names.map(({ pod, name, address, secondsLeft }) => [
      pod,
      name,
      address,
      secondsLeft === 0 ? "ended" : `${secondsLeft}s`,
    ]),
  );
}

export function renderNameEvents({
  asked,
  refused,
  learnt,
  unasked,
  unreadable,
  gave_way: gaveWay,
}: NameEvents): string {
  const parts = [
    `${asked} questions passed, ${refused} were refused`,
    `addresses were learnt ${learnt} times`,
    ...(unasked > 0n ? [`${unasked} answers were to no question`] : []),
    ...(unreadable > 0n ? [`${unreadable} answers were cut short or malformed`] : []),
    ...(gaveWay > 0n ? [`${gaveWay} names gave way to others of their address`] : []),
  ];
  return `${parts.join("; ")}\n`;
}

/** Nothing where there was room for all. */
export function renderForgotten({ addresses, names }: ForgottenNames): string {
  if (addresses + names === 0n) return "";
  return `warning: ${addresses} addresses and ${names} names had to give way to others, for which there was no room: connections to them are dropped until the pod asks for the name again\n`;
}
