import { fingerprint } from "@bpfleet/base";
import type { MapEntries, MapSpec, NodeFacts, RuleRef } from "@bpfleet/kernel";
import { startDraft, type FeaturePlan } from "../feature.ts";
import { reasonsMap } from "../generated/shared.ts";
import { placePods, type PodData } from "../pod-cgroups.ts";
import { planRuleCounters } from "../rule-counters.ts";
import { deviceKeySize, devicesMaps, encodeDeviceKey } from "./generated/devices.ts";
import type { DeviceRule, DevicesIntent } from "./intent.ts";

/** BPF_DEVCG_DEV_* of linux/bpf.h. */
const deviceTypes = { block: 1, char: 2 } as const;
/** ANY_MINOR of devices.bpf.c. */
const anyMinor = 0xffffffff;
/** Of a major or minor number, in bits: dev_t of the kernel. */
const numberBits = 32;

export function planDevices(intents: readonly DevicesIntent[], facts: NodeFacts): FeaturePlan {
  const plan = startDraft();
  for (const intent of intents) {
    const owner = intent.origin.object;
    const { ready, problems } = placePods(intent.pods, intent.origin, facts);
    plan.problems.push(...problems);
    if (ready.length === 0) continue;

    const rules = numberDevices(intent.allowed);
    const entries = packDevices(intent.allowed);
    const allowed: MapSpec = {
      key: `devices/${owner.namespace}/${owner.name}/allowed`,
      name: "allowed",
      definition: { ...devicesMaps.allowed, maxEntries: Math.max(1, entries.count) },
      contents: { kind: "sealed", digest: fingerprint(join(entries.keys, entries.values)), entries },
      owner,
    };
    plan.maps.push(allowed);
    for (const { namespace, pod, path } of ready) {
      const key = `devices/${owner.namespace}/${owner.name}/${namespace}/${pod}`;
      const reasons: MapSpec = {
        key: `${key}/reasons`,
        name: "reasons",
        definition: reasonsMap,
        contents: { kind: "live" },
        owner,
      };
      const [hits, base] = planRuleCounters(key, rules, owner);
      const program = `${key}/program`;
      plan.maps.push(reasons, hits, base);
      plan.programs.push({
        key: program,
        name: "devices",
        type: "cgroup_device",
        object: { name: "devices", digest: facts.objects["devices"]?.digest ?? "" },
        entry: "check_device",
        globals: {},
        maps: { allowed: allowed.key, reasons: reasons.key, hits: hits.key },
        owner,
      });
      plan.attachments.push({
        point: { hook: "cgroup", path, attach: "device", member: program },
        member: { program, priority: intent.priority, proceedOn: [] },
      });
      plan.instances.push({
        feature: "devices",
        owner,
        key,
        programs: [program],
        maps: { reasons: reasons.key, hits: hits.key, base: base.key },
        rules,
        data: { pods: [{ namespace, pod, path }] } satisfies PodData,
      });
    }
  }
  return plan;
}

function numberDevices(allowed: readonly DeviceRule[]): RuleRef[] {
  return allowed.map(({ type, major, minor, text, origin }, at) => {
    const id =
      (BigInt(deviceTypes[type]) << BigInt(2 * numberBits - 2)) |
      (BigInt(major) << BigInt(numberBits)) |
      BigInt(minor ?? anyMinor);
    return { index: at + 1, id: String(id), text, origin };
  });
}

/** Device → rule index, as the map `allowed` holds it. */
function packDevices(allowed: readonly DeviceRule[]): MapEntries {
  const keys = new Uint8Array(allowed.length * deviceKeySize);
  const view = new DataView(keys.buffer);
  for (const [at, { type, major, minor }] of allowed.entries()) {
    encodeDeviceKey({ type: deviceTypes[type], major, minor: minor ?? anyMinor }, view, at * deviceKeySize);
  }
  const indices = Uint32Array.from(allowed, (_, at) => at + 1);
  return { count: allowed.length, keys, values: new Uint8Array(indices.buffer) };
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const joined = new Uint8Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}
