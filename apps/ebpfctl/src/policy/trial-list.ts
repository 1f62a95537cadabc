import type { PolicyState } from "@bpfleet/agent";
import { renderAge, renderRef, renderTable, type Origin } from "@bpfleet/base";
import type { PolicyTrial } from "@bpfleet/features";
import { renderAddress } from "@bpfleet/kinds";
import { renderOrigin } from "../explain/render-origin.ts";
import { protocolText } from "./address-text.ts";
import { endpointName } from "./endpoint-name.ts";

export interface ListedTrial {
  /** `namespace/name`, or `node name`. */
  readonly pod: string;
  /** As the pod sees it. */
  readonly direction: "ingress" | "egress";
  readonly would: "drop" | "pass";
  readonly peer: { readonly address: string; readonly name?: string | undefined };
  readonly protocol: string;
  readonly port: number;
  readonly flows: number;
  readonly agoSeconds: number;
  /** The rule, or what would isolate the pod. */
  readonly by: readonly { readonly text: string; readonly origin: Origin }[];
}

/** Those of pods that are there, the most frequent first. */
export function listTrials(trials: readonly PolicyTrial[], state: PolicyState, nowNs: bigint): readonly ListedTrial[] {
  const { data, names } = state;
  return trials
    .flatMap((trial): ListedTrial[] => {
      const endpoint = data?.endpoints.find(({ ifindex }) => ifindex === trial.ifindex);
      if (endpoint === undefined) return [];
      const isNow = String(trial.serial) === data?.serial;
      const rule = isNow ? state.rules.find(({ index }) => index === trial.rule) : undefined;
      const isolating = trial.rule === 0 ? (endpoint.triedBy?.[trial.opened] ?? []) : [];
      const address = renderAddress(trial.peer);
      const name = names[address];
      return [
        {
          pod: endpointName(data?.endpoints, trial.ifindex) ?? "",
          direction: trial.opened,
          would: trial.would,
          peer: { address, ...(name !== undefined && { name }) },
          protocol: protocolText(trial.protocol),
          port: trial.port,
          flows: Number(trial.flows),
          agoSeconds: Math.max(0, Number((nowNs - trial.seenNs) / 1_000_000_000n)),
          by:
            rule !== undefined
              ? [{ text: rule.text, origin: rule.origin }]
              : isolating.flatMap((at) => {
                  const origin = data?.trying?.[at];
                  return origin === undefined ? [] : [{ text: "no rule allows it", origin }];
                }),
        },
      ];
    })
    .toSorted((a, b) => b.flows - a.flows);
}

export function renderTrials(trials: readonly ListedTrial[], isWide: boolean): string {
  return renderTable(
    ["POD", "DIRECTION", "WOULD", "PEER", "PORT", "FLOWS", "LAST", "BY"],
    trials.map(({ pod, direction, would, peer, protocol, port, flows, agoSeconds, by }) => [
      pod,
      direction,
      would,
      peer.name === undefined ? peer.address : `${peer.name} (${peer.address})`,
      protocol.startsWith("icmp") ? `${protocol} type ${port}` : `${protocol}/${port}`,
      String(flows),
      renderAge(agoSeconds * 1000),
      by.map(({ text, origin }) => (isWide ? `${renderOrigin(origin)}: ${text}` : renderRef(origin.object))).join(", "),
    ]),
  );
}
