import type { DefinedKind } from "@bpfleet/kinds";
import { awaitChange, recheckAfter, type AnyObject, type Outcome, type ResourceType } from "@bpfleet/kube";
import { createInformer, type Informer, type KubeClient, type Timing } from "@bpfleet/kube-client";
import { isDeclared, isMade } from "../desired/access.ts";
import { finalizers } from "../desired/names.ts";
import type { Activity } from "../run/activity.ts";
import { kindPolicy } from "../reconcile/resources.ts";
import { LeadingController } from "../run/leading-controller.ts";
import type { Part, Teller } from "../run/part.ts";
import { addFinalizer, removeFinalizer } from "./finalizers.ts";
import type { NodePrograms } from "./node-programs.ts";

export interface ConfigFinalizerOptions {
  readonly client: KubeClient;
  readonly kinds: readonly DefinedKind[];
  readonly programs: NodePrograms;
  readonly teller: Teller;
  readonly timing: Timing;
  readonly activity: Activity;
}

/** bpfd's retry. */
const recheckMs = 5000;

/** Holds a config that is deleted until every node has unloaded its program, as bpfd did. */
export class ConfigFinalizer implements Part {
  readonly name = "finalizers";
  readonly #options: ConfigFinalizerOptions;
  readonly #configs: ReadonlyMap<string, readonly [ResourceType, Informer<AnyObject>]>;
  /** The version of each config that was released: its event may come after that of a program. */
  readonly #released = new Map<string, string | undefined>();
  readonly #work: LeadingController;

  constructor(options: ConfigFinalizerOptions) {
    this.#options = options;
    this.#work = new LeadingController({
      name: this.name,
      timing: options.timing,
      teller: options.teller,
      reconcile: (key, stop) => this.#reconcile(key, stop),
    });
    const { client, kinds, programs, teller } = options;
    const made = kinds.filter(isMade);
    const owners = kinds.filter(
      (kind) => isDeclared(kind) && made.some(({ madeFrom, group }) => madeFrom === kind.kind && group === kind.group),
    );
    this.#configs = new Map(
      owners.map(({ group, version, plural, kind }) => {
        const resource = { group, version, plural };
        const informer = createInformer<AnyObject>(client, {
          resource,
          transform: headerOf,
          policy: kindPolicy,
          onFault: (error) => teller.fault(error),
        });
        informer.onChange(({ type, object }) => {
          const key = `${kind}/${object.metadata.name}`;
          if (type === "deleted") this.#released.delete(key);
          else this.#work.add(key);
        });
        return [kind, [resource, informer.start()]] as const;
      }),
    );
    programs.onChange((config) => {
      for (const [kind, [, informer]] of this.#configs)
        if (informer.find(config)?.metadata.deletionTimestamp !== undefined) this.#work.add(`${kind}/${config}`);
    });
  }

  async lead(signal: AbortSignal): Promise<void> {
    await this.#options.programs.synced(signal);
    await this.#work.lead(signal, () => {
      for (const [kind, [, informer]] of this.#configs)
        for (const { metadata } of informer.list()) this.#work.add(`${kind}/${metadata.name}`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#configs.values()].map(([, informer]) => informer.stop()));
  }

  async #reconcile(key: string, signal: AbortSignal): Promise<Outcome> {
    const { client, programs, teller, activity } = this.#options;
    const [kind = "", name = ""] = key.split("/");
    const [type, informer] = this.#configs.get(kind) ?? [];
    const config = informer?.find(name);
    if (type === undefined || config === undefined) return awaitChange;
    const { finalizers: held = [], deletionTimestamp } = config.metadata;
    const isHeld = held.includes(finalizers.config);
    if (deletionTimestamp === undefined) {
      if (!isHeld && !activity.isServing) return activity.askAgain();
      if (!isHeld) await addFinalizer(client, type, config, finalizers.config, signal);
      return awaitChange;
    }
    const { resourceVersion } = config.metadata;
    if (!isHeld || this.#released.get(key) === resourceVersion) return awaitChange;
    const loaded = programs
      .ofConfig(config)
      .filter(({ metadata }) => metadata.finalizers?.includes(finalizers.program) === true);
    if (loaded.length > 0) return recheckAfter(recheckMs);
    if (!(await removeFinalizer(client, type, config, finalizers.config, signal))) return awaitChange;
    if (informer?.find(name) !== undefined) this.#released.set(key, resourceVersion);
    teller.wrote("release", `${kind} ${name}`, "no node has its program any more");
    return awaitChange;
  }
}

function headerOf({ apiVersion, kind, metadata }: AnyObject): AnyObject {
  const { name, uid, resourceVersion, finalizers: held, deletionTimestamp } = metadata;
  return { apiVersion, kind, metadata: { name, uid, resourceVersion, finalizers: held, deletionTimestamp } };
}
