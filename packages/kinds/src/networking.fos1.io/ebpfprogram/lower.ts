import type { Origin } from "@bpfleet/base";
import type {
  BlacklistEntry,
  DevicesIntent,
  FilterIntent,
  FilterMark,
  PodCgroup,
  SocketsIntent,
} from "@bpfleet/features";
import type { PlanProblem } from "@bpfleet/kernel";
import { parsePrefix, renderPrefix } from "../../address/prefix.ts";
import { findPodCgroups } from "../../core/pod/cgroups.ts";
import type { Lowered, Parsed, ResourceView } from "../../kind.ts";
import { notServed } from "../../not-served.ts";
import { defaultDevices } from "./devices.ts";
import { findMaps } from "./maps.ts";
import type { EBPFProgram } from "./schema.ts";

/** What an EBPFProgram asks of the features: filter, devices and sockets. */
export function lowerProgram(parsed: Parsed<EBPFProgram>, view: ResourceView): Lowered {
  const work = new Lowering(parsed, view);
  switch (parsed.object.spec.type) {
    case "xdp":
    case "tc-ingress":
    case "tc-egress":
      work.onInterface(parsed.object.spec.type);
      break;
    case "cgroup":
      work.onPods();
      break;
    case "sockops":
      work.onSockets();
      break;
  }
  return { intents: work.intents, problems: work.problems };
}

class Lowering {
  readonly intents: (FilterIntent | DevicesIntent | SocketsIntent)[] = [];
  readonly problems: PlanProblem[] = [];
  readonly #parsed: Parsed<EBPFProgram>;
  readonly #view: ResourceView;

  constructor(parsed: Parsed<EBPFProgram>, view: ResourceView) {
    this.#parsed = parsed;
    this.#view = view;
  }

  onInterface(hook: "xdp" | "tc-ingress" | "tc-egress"): void {
    const { spec } = this.#parsed.object;
    if (spec.interface === undefined) return;
    const { settings } = spec;
    this.intents.push({
      ...this.#filterBase(),
      at: { hook, interface: spec.interface },
      placeOrigin: this.#origin("/spec/interface"),
      isStateful: settings?.stateful === true && hook !== "tc-egress",
      mark: hook === "xdp" ? undefined : this.#mark(),
      maps: this.#maps(),
    });
  }

  onPods(): void {
    const { settings } = this.#parsed.object.spec;
    const policy = settings?.containerPolicy;
    const pods = this.#pods();
    if (
      policy?.enableAccounting !== true &&
      policy?.enableEgressControl !== true &&
      policy?.enableDeviceControl !== true
    ) {
      this.#problem(
        "note",
        "NothingEnabled",
        "/spec/settings/containerPolicy",
        "nothing is enabled, so the program does nothing; enable accounting, egress control or device control",
      );
    }
    if (pods.length === 0) return;
    if (policy?.enableAccounting === true || policy?.enableEgressControl === true) this.#filterPods(pods, policy);
    if (policy?.enableDeviceControl === true) {
      const origin = this.#origin("/spec/settings/containerPolicy/enableDeviceControl");
      const allowed = defaultDevices.map((device) => ({ ...device, origin }));
      this.intents.push({
        feature: "devices",
        origin: this.#origin("/spec"),
        pods,
        priority: this.#parsed.object.spec.priority,
        allowed,
      });
    }
  }

  onSockets(): void {
    const { settings, priority } = this.#parsed.object.spec;
    for (const field of ["enableRedirection", "enableTracing"] as const) {
      if (settings?.socketOps?.[field] !== true) continue;
      this.problems.push(notServed(this.#parsed, `/spec/settings/socketOps/${field}`, "set it to false"));
    }
    if (settings?.socketOps?.enableMonitoring === false) {
      this.#problem(
        "note",
        "NothingEnabled",
        "/spec/settings/socketOps",
        "nothing is enabled, so the program does nothing; set spec.settings.socketOps.enableMonitoring",
      );
      return;
    }
    const pods = this.#pods();
    if (pods.length > 0) this.intents.push({ feature: "sockets", origin: this.#origin("/spec"), pods, priority });
  }

  /** The lists decide what the pods send; what they receive is only counted, by an intent of its own. */
  #filterPods(
    pods: readonly PodCgroup[],
    policy: { readonly enableAccounting: boolean; readonly enableEgressControl: boolean },
  ): void {
    const control = policy.enableEgressControl;
    const { blacklist, rateLimit, ...base } = this.#filterBase();
    const maps = control ? this.#maps() : [];
    if (control && blacklist === undefined && rateLimit === undefined && maps.length === 0) {
      this.#problem(
        "note",
        "NothingEnabled",
        "/spec/settings/containerPolicy/enableEgressControl",
        "egress control has nothing to decide by; enable spec.settings.blacklist or spec.settings.rateLimiting",
      );
    }
    const accounting = policy.enableAccounting
      ? { origin: this.#origin("/spec/settings/containerPolicy/enableAccounting") }
      : undefined;
    const counting: FilterIntent = {
      ...base,
      at: { hook: "cgroup", pods, directions: ["ingress", "egress"] },
      accounting,
      isStateful: false,
      maps: [],
    };
    if (!control) {
      this.intents.push(counting);
      return;
    }
    this.intents.push({
      ...counting,
      at: { hook: "cgroup", pods, directions: ["egress"] },
      blacklist,
      rateLimit,
      maps,
    });
    if (policy.enableAccounting)
      this.intents.push({ ...counting, at: { hook: "cgroup", pods, directions: ["ingress"] } });
  }

  #filterBase(): Pick<FilterIntent, "feature" | "origin" | "priority" | "blacklist" | "rateLimit"> {
    const { settings, priority } = this.#parsed.object.spec;
    const { blacklist, rateLimiting } = settings ?? {};
    return {
      feature: "filter",
      origin: this.#origin("/spec"),
      priority,
      blacklist:
        blacklist?.enabled === true
          ? { entries: this.#entries(blacklist.ips ?? []), origin: this.#origin("/spec/settings/blacklist") }
          : undefined,
      rateLimit:
        rateLimiting?.enabled === true
          ? {
              packetsPerSecond: rateLimiting.packetsPerSecond,
              origin: this.#origin("/spec/settings/rateLimiting/packetsPerSecond"),
            }
          : undefined,
    };
  }

  /** Of equal prefixes the first one counts; parsing has warned of the others. */
  #entries(ips: readonly string[]): readonly BlacklistEntry[] {
    const entries = new Map<string, BlacklistEntry>();
    for (const [index, text] of ips.entries()) {
      const read = parsePrefix(text);
      if (!read.ok) continue;
      const key = renderPrefix(read.prefix);
      if (!entries.has(key))
        entries.set(key, { prefix: read.prefix, text, origin: this.#origin(`/spec/settings/blacklist/ips/${index}`) });
    }
    return [...entries.values()];
  }

  #mark(): FilterMark | undefined {
    const control = this.#parsed.object.spec.settings?.trafficControl;
    if (control === undefined || !(control.enableMarking || control.enableDSCP || control.enableQoS)) return undefined;
    const value = (control.defaultMark & control.markMask) >>> 0;
    return {
      skb: control.enableMarking ? { value, mask: control.markMask } : undefined,
      dscp: control.enableDSCP ? control.defaultMark : undefined,
      priorityFromDscp: control.enableQoS,
      origin: this.#origin("/spec/settings/trafficControl"),
    };
  }

  #maps(): FilterIntent["maps"] {
    const found = findMaps(this.#parsed, this.#view);
    for (const { severity, reason, path, message } of found.problems) this.#problem(severity, reason, path, message);
    return found.maps;
  }

  #pods(): readonly PodCgroup[] {
    const { namespace } = this.#parsed.ref;
    const { pods, without } = findPodCgroups(this.#view, namespace);
    for (const name of without) {
      this.#problem(
        "note",
        "PodWithoutCgroup",
        "/spec",
        `pod ${namespace}/${name} is left out: it has no annotation bpfleet.io/cgroup`,
      );
    }
    if (pods.length === 0) {
      this.#problem(
        "waiting",
        "NoPods",
        "/spec",
        `no pod of namespace ${namespace} has a cgroup; it runs as soon as there is one`,
      );
    }
    return pods;
  }

  #problem(severity: PlanProblem["severity"], reason: string, path: string, message: string): void {
    this.problems.push({ origin: this.#origin(path), reason, message, severity });
  }

  #origin(path: string): Origin {
    return { object: this.#parsed.ref, path, position: this.#parsed.positionOf(path) };
  }
}
