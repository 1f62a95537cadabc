import type { PolicyState } from "@bpfleet/agent";
import { renderRef, renderTable, type Origin } from "@bpfleet/base";
import type { PolicyFlow } from "@bpfleet/features";
import { renderAddress } from "@bpfleet/kinds";
import { renderOrigin } from "../explain/render-origin.ts";
import { protocolText } from "./address-text.ts";
import { endpointName, isCalled, isInNamespace } from "./endpoint-name.ts";

export interface ListedFlow {
  /** `namespace/name`, or `node name`. */
  readonly pod?: string | undefined;
  readonly interface?: string | undefined;
  /** As the pod sees it. */
  readonly direction: "ingress" | "egress";
  readonly protocol: string;
  /** Who opened it, and to whom. */
  readonly from: FlowEnd;
  readonly to: FlowEnd;
  readonly state: string;
  /** Since the last packet, to within a second. */
  readonly idleSeconds: number;
  readonly rule?: { readonly text: string; readonly origin: Origin } | undefined;
  /** An earlier table decided it: its next packet is judged by the one in force. */
  readonly isEarlier: boolean;
  /** Somebody else's, which leaves the node with the node's own address: no policy is asked. */
  readonly isForwarded: boolean;
}

export interface FlowEnd {
  readonly address: string;
  readonly port?: number | undefined;
  readonly name?: string | undefined;
}

export interface FlowWish {
  readonly pod: string | undefined;
  readonly namespace: string | undefined;
  readonly address: string | undefined;
  readonly port: number | undefined;
  readonly protocol: string | undefined;
  readonly withEnded: boolean;
}

const portless = new Set([1, 58]);

export function listFlows(
  flows: readonly PolicyFlow[],
  state: PolicyState,
  nowNs: bigint,
  wish: FlowWish,
): readonly ListedFlow[] {
  const rules = new Map(state.rules.map((rule) => [rule.index, rule]));
  return flows
    .filter(({ hasEnded }) => wish.withEnded || !hasEnded)
    .map((flow): ListedFlow => {
      const endpoint = state.data?.endpoints.find(({ ifindex }) => ifindex === flow.ifindex);
      const isForwarded = flow.marks.includes("forwarded");
      const isEarlier = !isForwarded && state.data?.serial !== String(flow.serial);
      const rule = isEarlier || isForwarded ? undefined : rules.get(flow.rule);
      const end = (bytes: Uint8Array, port: number): FlowEnd => {
        const address = renderAddress(bytes);
        const name = state.names[address];
        return {
          address,
          ...(portless.has(flow.protocol) ? {} : { port }),
          ...(name !== undefined && { name }),
        };
      };
      const local = end(flow.local, flow.localPort);
      const remote = end(flow.remote, flow.remotePort);
      return {
        ...(endpoint && {
          pod: endpointName(state.data?.endpoints, flow.ifindex),
          interface: endpoint.interface || undefined,
        }),
        direction: flow.opened,
        protocol: protocolText(flow.protocol),
        from: flow.opened === "egress" ? local : remote,
        to: flow.opened === "egress" ? remote : local,
        state: stateOf(flow),
        idleSeconds: Math.max(0, Number((nowNs - flow.seenNs) / 1_000_000_000n)),
        rule: rule && { text: rule.text, origin: rule.origin },
        isEarlier,
        isForwarded,
      };
    })
    .filter((flow) => isWanted(flow, wish))
    .toSorted((a, b) => a.idleSeconds - b.idleSeconds);
}

function stateOf({ state, marks, hasEnded }: PolicyFlow): string {
  if (marks.includes("denied")) return "revoked";
  if (hasEnded) return "ended";
  return marks.includes("kept") ? `${state}, kept` : state;
}

function isWanted({ pod, interface: name, from, to, protocol }: ListedFlow, wish: FlowWish): boolean {
  const ends = [from, to];
  if (wish.namespace !== undefined && !isInNamespace(pod, wish.namespace)) return false;
  if (wish.pod !== undefined && name !== wish.pod && !isCalled(pod, wish.pod)) return false;
  if (wish.address !== undefined && !ends.some(({ address }) => address === wish.address)) return false;
  if (wish.port !== undefined && !ends.some(({ port }) => port === wish.port)) return false;
  return wish.protocol === undefined || wish.protocol === protocol;
}

export function renderFlows(flows: readonly ListedFlow[], hasHeader: boolean, isWide: boolean): string {
  const end = ({ address, port, name }: FlowEnd): string => {
    const text = port === undefined ? address : address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
    return isWide && name !== undefined ? `${text} (${name})` : text;
  };
  const rows = flows.map((flow) => [
    flow.pod ?? flow.interface ?? "<unknown>",
    flow.direction,
    flow.protocol,
    end(flow.from),
    end(flow.to),
    flow.state,
    `${flow.idleSeconds}s`,
    ruleText(flow, isWide),
  ]);
  return renderTable(
    hasHeader ? ["POD", "DIRECTION", "PROTOCOL", "FROM", "TO", "STATE", "IDLE", "ALLOWED BY"] : undefined,
    rows,
  );
}

function ruleText({ rule, isEarlier, isForwarded }: ListedFlow, isWide: boolean): string {
  if (isForwarded) return "<forwarded>";
  if (isEarlier) return "<an earlier table>";
  if (rule === undefined) return "<default>";
  return isWide ? `${renderOrigin(rule.origin)}: ${rule.text}` : renderRef(rule.origin.object);
}
