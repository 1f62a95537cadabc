import type { Feature, Upkeep } from "@bpfleet/features";
import { mapIdentity, type FeatureInstance, type KernelPort, type NodePlan } from "@bpfleet/kernel";

export interface UpkeepOptions {
  readonly kernel: Pick<KernelPort, "readMap" | "writeMap">;
  readonly features: readonly Feature[];
  readonly plan: () => NodePlan;
  readonly onTrouble: (error: unknown) => void;
}

interface Tended {
  readonly instance: FeatureInstance;
  readonly upkeep: Upkeep;
}

/** Lets features put right, from time to time, what their programs cannot. Sleeps while none of them has to. */
export class NodeUpkeep implements AsyncDisposable {
  readonly #options: UpkeepOptions;
  #timer: NodeJS.Timeout | undefined;
  #work: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(options: UpkeepOptions) {
    this.#options = options;
  }

  /** To be called when the plan, or what is in force of it, is another one. */
  look(): void {
    const tended = this.#tended();
    if (tended.length === 0) clearTimeout(this.#timer);
    if (tended.length === 0) this.#timer = undefined;
    else this.#timer ??= this.#later(tended);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#work;
  }

  #tended(): readonly Tended[] {
    const { features, plan } = this.#options;
    return plan().instances.flatMap((instance) => {
      const upkeep = features.find(({ name }) => name === instance.feature)?.upkeep;
      return upkeep?.isNeeded(instance) === true ? [{ instance, upkeep }] : [];
    });
  }

  #later(tended: readonly Tended[]): NodeJS.Timeout | undefined {
    if (this.#isStopped) return undefined;
    const timer = setTimeout(
      () => {
        this.#work = this.#tendAll().finally(() => {
          this.#timer = undefined;
          this.look();
        });
      },
      Math.min(...tended.map(({ upkeep }) => upkeep.everyMs)),
    );
    return timer.unref();
  }

  async #tendAll(): Promise<void> {
    for (const { instance, upkeep } of this.#tended()) {
      try {
        await this.#tend(instance, upkeep);
      } catch (error) {
        this.#options.onTrouble(error);
      }
    }
  }

  async #tend(instance: FeatureInstance, upkeep: Upkeep): Promise<void> {
    const { kernel, plan } = this.#options;
    const identityOf = (role: string): ReturnType<typeof mapIdentity> | undefined => {
      const spec = plan().maps.find(({ key }) => key === instance.maps[role]);
      return spec && mapIdentity(spec);
    };
    const read: Parameters<Upkeep["tend"]>[1] = async (role) => {
      const identity = identityOf(role);
      return identity && (await kernel.readMap(identity));
    };
    for (const { role, puts, deletes } of await upkeep.tend(instance, read, process.hrtime.bigint())) {
      const identity = identityOf(role);
      if (identity !== undefined) await kernel.writeMap(identity, puts, deletes);
    }
  }
}
