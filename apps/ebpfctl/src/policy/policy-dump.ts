import type { PolicyState } from "@bpfleet/agent";
import { renderAge, renderRef, renderTable, type Origin } from "@bpfleet/base";
import type { InstanceCounters, TableContents } from "@bpfleet/features";
import { renderOrigin } from "../explain/render-origin.ts";
import { prefixText } from "./address-text.ts";
import { endpointName, isCalled, isInNamespace } from "./endpoint-name.ts";

/** In place of an interface. */
const wholeNode = "all of the node";

export interface PolicyDump {
  readonly node: string;
  readonly serial: string;
  /** Names of rules and pods are those of the table in force. */
  readonly isPlanned: boolean;
  readonly endpoints: readonly DumpedEndpoint[];
  readonly tables: readonly DumpedTable[];
  readonly identities: readonly {
    readonly class: number;
    readonly addresses: readonly { readonly prefix: string; readonly name?: string | undefined }[];
  }[];
}

export interface DumpedEndpoint {
  /** `namespace/name` or `node name`, where it is known; several with `and` between them. */
  readonly pod?: string | undefined;
  readonly interface?: string | undefined;
  readonly ifindex: number;
  /** Tables, all of which must allow; none where nothing is restricted. */
  readonly ingress: readonly number[];
  readonly egress: readonly number[];
  /** What of its traffic is not judged there. */
  readonly note?: string | undefined;
}

export interface DumpedTable {
  readonly table: number;
  readonly rules: readonly DumpedRule[];
  /** What holds where no rule means a packet; left out where one means everything. */
  readonly otherwise?: "allow" | "deny" | undefined;
}

export interface DumpedRule {
  readonly rank: number;
  readonly action: "allow" | "deny";
  readonly text: string;
  readonly origin?: Origin | undefined;
  readonly keepsFlows: boolean;
  readonly packets?: number | undefined;
  readonly bytes?: number | undefined;
  /** To within ten seconds; left out where nothing was counted yet. */
  readonly lastHit?: string | undefined;
}

export interface DumpWish {
  /** `namespace/name`, a name, or an interface; all where it is left out. */
  readonly endpoint: string | undefined;
  readonly namespace: string | undefined;
}

export function makeDump(
  contents: TableContents,
  state: PolicyState,
  counters: readonly InstanceCounters[],
  wish: DumpWish,
): PolicyDump {
  const isPlanned = state.data?.serial === String(contents.serial);
  const endpoints = contents.endpoints
    .map((endpoint): DumpedEndpoint => {
      const known = state.data?.endpoints.find(({ ifindex }) => ifindex === endpoint.ifindex);
      if (known === undefined) return endpoint;
      const note = state.notes.find(({ ifindex }) => ifindex === endpoint.ifindex)?.note;
      return {
        pod: endpointName(state.data?.endpoints, endpoint.ifindex),
        interface: known.interface || wholeNode,
        ...endpoint,
        ...(note !== undefined && { note }),
      };
    })
    .filter((endpoint) => isWanted(endpoint, wish));
  const used = new Set(endpoints.flatMap(({ ingress, egress }) => [...ingress, ...egress]));
  const counts = new Map(counters.flatMap(({ rules }) => rules.map((each) => [each.rule.id, each] as const)));
  const rules = new Map(state.rules.map((rule) => [rule.index, rule]));
  return {
    node: state.nodeName,
    serial: String(contents.serial),
    isPlanned,
    endpoints,
    tables: contents.tables
      .filter(({ number }) => used.has(number))
      .map(({ number, rules: ranked }) => {
        const last = ranked.at(-1);
        const hasDefault = last?.rule === 0;
        const listed = hasDefault ? ranked.slice(0, -1) : ranked;
        return {
          table: number,
          rules: listed.map(({ rule, verdict, keepsFlows }, rank): DumpedRule => {
            const ref = isPlanned ? rules.get(rule) : undefined;
            const { counter, lastHitMs } = (ref && counts.get(ref.id)) ?? {};
            return {
              rank,
              action: verdict === "drop" ? "deny" : "allow",
              text: ref?.text ?? `rule ${rule}`,
              origin: ref?.origin,
              keepsFlows,
              ...(counter && { packets: Number(counter.packets), bytes: Number(counter.bytes) }),
              ...(lastHitMs !== undefined && { lastHit: new Date(lastHitMs).toISOString() }),
            };
          }),
          ...(hasDefault && { otherwise: last.verdict === "drop" ? "deny" : "allow" }),
        };
      }),
    identities: identitiesOf(contents, state),
  };
}

function isWanted({ pod, interface: name }: DumpedEndpoint, { endpoint, namespace }: DumpWish): boolean {
  if (namespace !== undefined && !isInNamespace(pod, namespace)) return false;
  return endpoint === undefined || name === endpoint || isCalled(pod, endpoint);
}

function identitiesOf({ addresses, unknownClass }: TableContents, { names }: PolicyState): PolicyDump["identities"] {
  const byClass = new Map<number, { readonly prefix: string; readonly name?: string | undefined }[]>();
  const add = (number: number, prefix: string, name?: string): void => {
    const list = byClass.get(number) ?? [];
    byClass.set(number, list);
    list.push({ prefix, ...(name !== undefined && { name }) });
  };
  for (const { bytes, length, class: number } of addresses) {
    const prefix = prefixText(bytes, length);
    add(number, prefix, names[prefix]);
  }
  add(unknownClass.ipv4, "all other IPv4 addresses");
  add(unknownClass.ipv6, "all other IPv6 addresses");
  return [...byClass]
    .toSorted(([a], [b]) => a - b)
    .map(([number, list]) => ({
      class: number,
      addresses: list.toSorted((a, b) => (a.prefix < b.prefix ? -1 : a.prefix > b.prefix ? 1 : 0)),
    }));
}

export function renderDump(dump: PolicyDump, nowMs: number): string {
  const tables = (numbers: readonly number[]): string =>
    numbers.length === 0 ? "any" : numbers.map((number) => `table ${number}`).join(" and ");
  const parts = [
    `Node ${dump.node}, table ${dump.serial}\n`,
    renderTable(
      ["POD", "INTERFACE", "INGRESS", "EGRESS"],
      dump.endpoints.map((each) => [
        each.pod ?? "<unknown>",
        each.interface === wholeNode ? wholeNode : `${each.interface ?? "?"} (${each.ifindex})`,
        tables(each.ingress),
        tables(each.egress),
      ]),
    ),
    ...dump.endpoints.flatMap(({ pod = "<unknown>", note }) =>
      note === undefined ? [] : [`Note on ${pod}: ${note}\n`],
    ),
    ...dump.tables.map((table) => renderRules(table, dump, nowMs)),
    `Identities\n${renderTable(
      ["IDENTITY", "ADDRESS", "WHO"],
      dump.identities.flatMap((identity) =>
        identity.addresses.map(({ prefix, name }) => [String(identity.class), prefix, name ?? ""]),
      ),
    )}`,
  ];
  return parts.join("\n");
}

function renderRules({ table, rules, otherwise }: DumpedTable, { endpoints }: PolicyDump, nowMs: number): string {
  const users = (["ingress", "egress"] as const).flatMap((direction) =>
    endpoints.flatMap((each) =>
      each[direction].includes(table) ? [`${direction} of ${each.pod ?? `interface ${each.ifindex}`}`] : [],
    ),
  );
  const shown = users.length > 3 ? [...users.slice(0, 3), `${users.length - 3} more`] : users;
  const rows = rules.map((rule) => [
    String(rule.rank),
    rule.action,
    rule.text,
    rule.packets === undefined ? "" : String(rule.packets),
    rule.bytes === undefined ? "" : String(rule.bytes),
    rule.lastHit === undefined ? "" : renderAge(Math.max(0, nowMs - Date.parse(rule.lastHit))),
    rule.origin === undefined
      ? ""
      : rule.origin.object.kind === "Node"
        ? renderRef(rule.origin.object)
        : renderOrigin(rule.origin),
  ]);
  const last = otherwise === undefined ? [] : [[String(rules.length), otherwise, "everything else", "", "", "", ""]];
  return `Table ${table}: ${shown.join(", ")}\n${renderTable(
    ["RANK", "ACTION", "RULE", "PACKETS", "BYTES", "LAST HIT", "WRITTEN IN"],
    [...rows, ...last],
  )}`;
}
