import { errorCodes, KernelError, type ErrorCode, type ObjectRef, type Origin, type Retry } from "@bpfleet/base";
import type { Decision, InstanceCounters } from "@bpfleet/features";
import {
  parseHookKey,
  type HookResult,
  type Inventory,
  type ItemResult,
  type MapDefinition,
  type NodeFacts,
  type ObservedKernel,
  type Offer,
  type RuleRef,
} from "@bpfleet/kernel";
import type * as wire from "@bpfleet/wire";
import type { HookCounters } from "../counters.ts";
import type { DaemonResults, Explanation, TraceEvent } from "../daemon.ts";

/** Messages as the daemon's values; the inverse of `to-wire.ts`. Throws KernelError for what no daemon of ours says. */

export function decodeFacts(facts: wire.Facts): NodeFacts {
  const offer = (name: string): Offer => {
    const found = facts.offers[name];
    return found?.has === true ? { has: true } : { has: false, why: found?.why ?? "the daemon does not say" };
  };
  return {
    nodeName: facts.nodeName,
    cpus: facts.cpus,
    objects: Object.fromEntries(Object.entries(facts.objects).map(([name, digest]) => [name, { digest }])),
    interfaces: facts.interfaces.map(({ name, ifindex, isUp, mtu, linkKind, mac, addresses, hasDefaultRoute }) => ({
      name,
      ifindex,
      isUp,
      mtu,
      linkKind,
      mac,
      addresses,
      hasDefaultRoute,
    })),
    kernel: {
      release: facts.kernelRelease,
      btf: offer("btf"),
      tcx: offer("tcx"),
      cgroup2: offer("cgroup2"),
      ringbuf: offer("ringbuf"),
      chainInline: offer("chainInline"),
      chainStub: offer("chainStub"),
      ...(facts.offers["xdpFrags"] !== undefined && { xdpFrags: offer("xdpFrags") }),
    },
    hashSeed: facts.hashSeed,
    cgroups: facts.cgroups,
    bpffs: facts.bpffs,
    ...(facts.bytecode !== "" && { bytecode: JSON.parse(facts.bytecode) as NonNullable<NodeFacts["bytecode"]> }),
    ...(facts.pinRoot !== undefined && { pinRoot: facts.pinRoot }),
    ...(Object.keys(facts.labels).length > 0 && { labels: facts.labels }),
  };
}

export function decodeResults(results: wire.Results): DaemonResults {
  const { revision, isComplete, isSettled, isPaused, applyMs, trouble } = results;
  return {
    revision,
    isComplete,
    isSettled,
    isPaused,
    applyMs,
    trouble,
    items: results.items.map(decodeItem),
    healed: results.healed.map(({ at, item, key, what }) => ({ at, item: word(item, items), key, what })),
  };
}

const items = ["map", "program", "hook"] as const;
const retries: readonly Retry[] = ["never", "backoff", "when-changed"];

function decodeItem({ item, key, state, error, hook }: wire.ItemResult): ItemResult {
  return {
    item: word(item, items),
    key,
    state: word(state, ["in-force", "failed", "withheld"]),
    error: error && {
      code: decodeCode(error.code),
      message: error.message,
      detail: error.detail,
      retry: error.retry === undefined ? undefined : word(error.retry, retries),
    },
    hook: hook && decodeHookResult(hook),
  };
}

function decodeHookResult({ mode, chain, memberModes, reason }: wire.HookResult): HookResult {
  return {
    mode,
    chain: word(chain, ["direct", "chain"]),
    memberModes: memberModes.map((each) => word(each, ["inline", "stub"])),
    reason,
  };
}

export function decodeCounters({ owner, labels, reasons, rules, gauges }: wire.InstanceCounters): InstanceCounters {
  return {
    owner: decodeRef(owner),
    ...(Object.keys(labels).length > 0 && { labels: { ...labels } }),
    reasons: Object.fromEntries(Object.entries(reasons).map(([name, counter]) => [name, decodeCounter(counter)])),
    rules: rules.map(({ rule, counter, sinceMs, lastHitMs }) => ({
      rule: decodeRule(rule),
      counter: decodeCounter(counter),
      ...(sinceMs !== undefined && { sinceMs }),
      ...(lastHitMs !== undefined && { lastHitMs }),
    })),
    gauges: Object.fromEntries(Object.entries(gauges).map(([name, { value }]) => [name, value.value ?? 0])),
  };
}

function decodeCounter(counter: wire.Counter | undefined): { packets: bigint; bytes: bigint } {
  return { packets: counter?.packets ?? 0n, bytes: counter?.bytes ?? 0n };
}

export function decodeHookCounters({ hook, members }: wire.HookCounters): HookCounters {
  return {
    hook,
    members: members.map(({ program, seen, proceeded, exits, verdicts }) => ({
      program,
      counts: { seen, proceeded, exits, verdicts },
    })),
  };
}

export function decodeRef(ref: wire.ObjectRef | undefined): ObjectRef {
  const { group, kind, namespace, name } = there(ref);
  return { group, kind, namespace, name };
}

function decodeRule(rule: wire.RuleRef | undefined): RuleRef {
  const { index, id, text, origin } = there(rule);
  return { index, id, text, origin: decodeOrigin(there(origin)) };
}

function decodeOrigin({ object, path, position }: wire.Origin): Origin {
  return {
    object: decodeRef(object),
    path,
    position: position && { file: position.file, line: position.line, column: position.column },
  };
}

function decodeDecision({ owner, verdict, reason, rule, text, isolatedBy, peer }: wire.Decision): Decision {
  return {
    owner: decodeRef(owner),
    verdict: word(verdict, ["pass", "drop"]),
    reason,
    rule: rule && decodeRule(rule),
    ...(isolatedBy.length > 0 && { isolatedBy: isolatedBy.map(decodeOrigin) }),
    ...(peer !== undefined && { peer }),
    text,
  };
}

export function decodeExplanation({
  hook,
  steps,
  verdict,
  verdictName,
  passes,
  notInForce,
}: wire.Explanation): Explanation {
  return {
    hook,
    verdict,
    verdictName,
    passes,
    ...(notInForce !== undefined && { notInForce }),
    steps: steps.map(({ program, owner, verdict, verdictName, decision, proceeds }) => ({
      program,
      owner: owner && decodeRef(owner),
      verdict,
      verdictName,
      decision: decision && decodeDecision(decision),
      proceeds,
    })),
  };
}

export function decodeEvents({ events }: wire.TraceEvents): TraceEvent[] {
  return events.map(({ at, program, ifindex, interface: name, decision, lengthBytes, head, layer, ...more }) => ({
    at,
    program,
    ifindex,
    interface: name,
    decision: decodeDecision(there(decision)),
    lengthBytes,
    head,
    layer: word(layer, ["ethernet", "network"]),
    ...(more.opensFlow && { opensFlow: true }),
    ...(more.missed !== undefined && { missed: more.missed }),
  }));
}

export function decodeObserved({ maps, programs, hooks }: wire.ObservedKernel): ObservedKernel {
  return {
    maps: maps.map(({ key, generation, mapId, definition, pinPaths, entries }) => ({
      key,
      generation,
      mapId,
      definition: decodeDefinition(definition),
      pinPaths,
      entries: entries && { count: entries.count, keys: entries.keys, values: entries.values },
    })),
    programs: programs.map(({ key, generation, programId, type, mapIds }) => ({
      key,
      generation,
      programId,
      type,
      mapIds,
    })),
    hooks: hooks.map(({ key, generation, members, isAttached, linkId, programId, result }) => ({
      key,
      point: parseHookKey(key),
      generation,
      members,
      isAttached,
      linkId,
      programId,
      result: decodeHookResult(there(result)),
    })),
  };
}

export function decodeInventory({ programs, maps, links }: wire.Inventory): Inventory {
  return {
    programs: programs.map(
      ({ id, type, name, tag, loadedAt, uid, mapIds, runCount, runTimeNs, verifiedInsns, jitedBytes, ours }) => ({
        id,
        type,
        name,
        tag,
        loadedAt,
        uid,
        mapIds,
        runCount,
        runTimeNs,
        verifiedInsns,
        jitedBytes,
        ours,
      }),
    ),
    maps: maps.map(({ id, name, definition, ours }) => {
      const { type, ...rest } = decodeDefinition(definition);
      return { id, type, name, definition: rest, ours };
    }),
    links: links.map(({ id, type, programId, target, ours }) => ({ id, type, programId, target, ours })),
  };
}

/** Types of foreign maps need not be among those that we plan. */
function decodeDefinition(definition: wire.MapDefinition | undefined): MapDefinition {
  const { type, keySize, valueSize, maxEntries, flags } = there(definition);
  return { type: type as MapDefinition["type"], keySize, valueSize, maxEntries, flags };
}

export function decodeFailure(
  { code, call, errno, retry, detail }: wire.Failure,
  message: string,
  cause: unknown,
): KernelError {
  return new KernelError(message, { code: decodeCode(code), call, errno, retry: word(retry, retries), detail, cause });
}

function decodeCode(code: string): ErrorCode {
  return code in errorCodes ? (code as ErrorCode) : "internal";
}

function word<T extends string>(text: string, words: readonly T[]): T {
  const found = words.find((each) => each === text);
  if (found === undefined) throw alien(`"${text}" where ${words.join(", ")} are known`);
  return found;
}

function there<T>(message: T | undefined): T {
  if (message === undefined) throw alien("a field is missing");
  return message;
}

function alien(what: string): KernelError {
  return new KernelError(`read the daemon's answer: ${what}; use the ebpfctl that came with the daemon`, {
    code: "invalid",
    call: "decode",
    retry: "never",
  });
}
