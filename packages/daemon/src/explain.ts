import { KernelError, type ObjectRef } from "@bpfleet/base";
import type { Feature } from "@bpfleet/features";
import {
  isInterfacePoint,
  mapIdentity,
  resolveMaps,
  type HookPoint,
  type KernelPort,
  type NodeFacts,
  type NodePlan,
} from "@bpfleet/kernel";
import type { CounterReader } from "./counters.ts";
import type { DaemonResults, ExplainRequest, ExplainStep, Explanation } from "./daemon.ts";
import { letsPass, verdictName } from "./verdict-names.ts";

export interface Explainer {
  readonly kernel: KernelPort;
  readonly features: readonly Feature[];
  readonly reader: CounterReader;
}

interface Member {
  readonly program: string;
  readonly proceedOn: readonly number[];
}

/**
 * Walks the programs of a hook as the kernel would, each by its dry-run twin: the same instructions
 * over the same maps, writing none of them. Throws KernelError for a hook that the plan lacks.
 */
export async function explainPacket(
  request: ExplainRequest,
  plan: NodePlan,
  facts: NodeFacts | undefined,
  by: Explainer,
): Promise<Explanation> {
  const { point, members } = findHook(request.hook, plan);
  const ifindex = isInterfacePoint(point)
    ? facts?.interfaces.find((each) => each.name === point.interface)?.ifindex
    : undefined;
  const steps: ExplainStep[] = [];
  let packet = request.packet;
  for (const [index, member] of members.entries()) {
    const { step, packetAfter } = await explainMember(member, point, packet, ifindex, plan, by);
    // At a cgroup hook every program runs; one that refuses is enough.
    const proceeds = index < members.length - 1 && (point.hook === "cgroup" || member.proceedOn.includes(step.verdict));
    steps.push({ ...step, proceeds });
    if (!proceeds) break;
    if (packetAfter.length > 0) packet = packetAfter;
  }
  const refusal = point.hook === "cgroup" ? steps.find((step) => !letsPass(point.hook, step.verdict)) : undefined;
  const verdict = (refusal ?? steps.at(-1))?.verdict ?? 0;
  return {
    hook: request.hook,
    steps,
    verdict,
    verdictName: verdictName(point.hook, verdict),
    passes: letsPass(point.hook, verdict),
  };
}

async function explainMember(
  member: Member,
  point: HookPoint,
  packet: Uint8Array,
  ifindex: number | undefined,
  plan: NodePlan,
  { kernel, features, reader }: Explainer,
): Promise<{ step: Omit<ExplainStep, "proceeds">; packetAfter: Uint8Array }> {
  const spec = plan.programs.find((program) => program.key === member.program);
  const maps = spec && resolveMaps(spec, new Map(plan.maps.map((map) => [map.key, mapIdentity(map)])));
  const instance = plan.instances.find((each) => each.programs.includes(member.program));
  const feature = instance && features.find((each) => each.name === instance.feature);
  if (spec === undefined || maps === undefined || instance === undefined || feature === undefined) {
    throw new KernelError(`explain ${member.program}: the plan does not say what it is`, {
      code: "not-found",
      call: "explain",
      retry: "when-changed",
    });
  }
  const { explanations } = feature;
  if (explanations === undefined && (isInterfacePoint(point) || point.hook === "cgroup")) {
    return { step: assume(member, instance.owner, point), packetAfter: packet };
  }
  if (explanations === undefined) {
    throw new KernelError(`explain ${member.program}: it judges no packets, or cannot say how`, {
      code: "not-supported",
      call: "explain",
      retry: "never",
    });
  }
  const { globals, scratch } = explanations.twin;
  const twin = { ...spec, globals: { ...spec.globals, ...globals } };
  const run = await kernel.testRun({ spec: twin, maps, packet, ifindex, scratch });
  const readings = await reader.readings(plan, instance, explanations.roles);
  const seen = { ifindex, head: packet, layer: "ethernet", nowNs: process.hrtime.bigint() } as const;
  const verdict = run.verdict | 0;
  return {
    step: {
      program: member.program,
      owner: instance.owner,
      verdict,
      verdictName: verdictName(point.hook, verdict),
      decision: readings && explanations.explain(instance, run.scratch, readings, seen),
    },
    packetAfter: run.packet,
  };
}

/** A program that somebody brought has no dry-run twin: running it might write its maps. */
function assume(member: Member, owner: ObjectRef, { hook }: HookPoint): Omit<ExplainStep, "proceeds"> {
  const passing = member.proceedOn.find((code) => letsPass(hook, code)) ?? member.proceedOn[0];
  const verdict = hook === "cgroup" ? 1 : (passing ?? (hook === "xdp" ? 2 : 0));
  const name = verdictName(hook, verdict);
  const text = `not run, since it may write its maps and has no dry run; assumed: ${name}`;
  const decision = { owner, verdict: letsPass(hook, verdict) ? "pass" : "drop", reason: "assumed", text } as const;
  return { program: member.program, owner, verdict, verdictName: name, decision };
}

/** `undefined` for a hook that is as the plan has it. */
export function whyNotInForce(
  key: string,
  { isPaused, items }: Pick<DaemonResults, "isPaused" | "items">,
): string | undefined {
  if (isPaused) return "everything is detached until `ebpfctl resume`";
  const hooks = items.filter(({ item, key: each }) => item === "hook" && (each === key || each.startsWith(`${key}#`)));
  const lacking = hooks.find(({ state }) => state !== "in-force");
  return lacking && (lacking.error?.message ?? `${lacking.key}: ${lacking.state}`);
}

/** A cgroup hook has a key per program; the key without the program names them all. */
function findHook(key: string, plan: NodePlan): { readonly point: HookPoint; readonly members: readonly Member[] } {
  const hooks = plan.hooks.filter(
    (hook) => hook.key === key || (hook.point.hook === "cgroup" && hook.key.startsWith(`${key}#`)),
  );
  const [first] = hooks;
  if (first === undefined) {
    const known = plan.hooks.map((hook) => hook.key).join(", ");
    throw new KernelError(
      `explain a packet at ${key}: nothing of ours is planned there; ${known === "" ? "no object attaches a program" : `there are ${known}`}`,
      {
        code: "not-found",
        call: "explain",
        retry: "when-changed",
      },
    );
  }
  return { point: first.point, members: hooks.flatMap((hook) => hook.members) };
}
