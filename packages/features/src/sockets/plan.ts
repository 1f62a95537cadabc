import type { NodeFacts } from "@bpfleet/kernel";
import { startDraft, type FeaturePlan } from "../feature.ts";
import { placePods, type PodData } from "../pod-cgroups.ts";
import { socketsMaps } from "./generated/sockets.ts";
import type { SocketsIntent } from "./intent.ts";

export function planSockets(intents: readonly SocketsIntent[], facts: NodeFacts): FeaturePlan {
  const plan = startDraft();
  for (const intent of intents) {
    const owner = intent.origin.object;
    const { ready, problems } = placePods(intent.pods, intent.origin, facts);
    plan.problems.push(...problems);
    for (const { namespace, pod, path } of ready) {
      const key = `sockets/${owner.namespace}/${owner.name}/${namespace}/${pod}`;
      const connections = `${key}/connections`;
      const program = `${key}/program`;
      const tracked = `${key}/tracked`;
      for (const [name, map] of [
        ["connections", connections],
        ["tracked", tracked],
      ] as const) {
        plan.maps.push({ key: map, name, definition: socketsMaps[name], contents: { kind: "live" }, owner });
      }
      plan.programs.push({
        key: program,
        name: "sockets",
        type: "sock_ops",
        object: { name: "sockets", digest: facts.objects["sockets"]?.digest ?? "" },
        entry: "count_connections",
        globals: {},
        maps: { connections, tracked },
        owner,
      });
      plan.attachments.push({
        point: { hook: "cgroup", path, attach: "sock_ops", member: program },
        member: { program, priority: intent.priority, proceedOn: [] },
      });
      plan.instances.push({
        feature: "sockets",
        owner,
        key,
        programs: [program],
        maps: { connections, tracked },
        rules: [],
        data: { pods: [{ namespace, pod, path }] } satisfies PodData,
      });
    }
  }
  return plan;
}
