import type { PolicyState } from "@bpfleet/agent";
import { compareText, renderTable } from "@bpfleet/base";
import type { ForgottenNames, LearntName, NameEvents } from "@bpfleet/features";
import { renderAddress } from "@bpfleet/kinds";
import { endpointName } from "./endpoint-name.ts";

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
      const pod = endpointName(data?.endpoints, ifindex);
      if (pod === undefined) return [];
      const secondsLeft = Math.max(0, Number((untilNs - nowNs) / 1_000_000_000n));
      return [{ pod, name, address: renderAddress(address), secondsLeft }];
    })
    .toSorted((a, b) => compareText(a.pod, b.pod) || compareText(a.name, b.name) || compareText(a.address, b.address));
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
  cut,
  in_fragments: inFragments,
  by_tcp: byTcp,
}: NameEvents): string {
  const parts = [
    `${counted(asked, "question")} passed, ${refused} ${wereOf(refused)} refused`,
    `addresses were learnt ${counted(learnt, "time")}`,
    ...(unasked > 0n ? [`${counted(unasked, "answer")} ${wereOf(unasked)} to no question`] : []),
    ...(unreadable > 0n ? [`${counted(unreadable, "answer")} ${wereOf(unreadable)} malformed or too long`] : []),
    ...(cut > 0n ? [`${counted(cut, "answer")} ${wereOf(cut)} cut short, which sends who asked to TCP`] : []),
    ...(byTcp > 0n ? [`${counted(byTcp, "connection")} asked by TCP, where nothing is learnt`] : []),
    ...(inFragments > 0n ? [`${fragmentsOf(inFragments)}, of which nothing is learnt`] : []),
    ...(gaveWay > 0n
      ? [`${counted(gaveWay, "name")} gave way to others of ${gaveWay === 1n ? "its" : "their"} address`]
      : []),
  ];
  return `${parts.join("; ")}\n`;
}

function counted(count: bigint, one: string, ending = "s"): string {
  return `${count} ${one}${count === 1n ? "" : ending}`;
}

function wereOf(count: bigint): string {
  return count === 1n ? "was" : "were";
}

function fragmentsOf(count: bigint): string {
  return count === 1n ? "1 packet was a fragment of an answer" : `${count} packets were fragments of answers`;
}

/** Nothing where there was room for all. */
export function renderForgotten({ addresses, names }: ForgottenNames): string {
  if (addresses + names === 0n) return "";
  return `warning: ${counted(addresses, "address", "es")} and ${counted(names, "name")} had to give way to others, for which there was no room: connections to them are dropped until the pod asks for the name again\n`;
}
