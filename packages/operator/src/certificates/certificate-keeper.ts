import { leases, recheckAfter, type AnyObject, type Outcome } from "@bpfleet/kube";
import { createInformer, type Informer, type KubeClient, type Timing } from "@bpfleet/kube-client";
import { fieldManager, madeByOperator, ownNamespace, secretNames } from "../desired/names.ts";
import { resources } from "../reconcile/resources.ts";
import type { Activity } from "../run/activity.ts";
import { LeadingController } from "../run/leading-controller.ts";
import type { Part, Teller } from "../run/part.ts";
import { defaultAuthorityPlan, type AuthorityPlan } from "./authority-state.ts";
import type { KeyPair } from "./authority.ts";
import { leafDays } from "./leaf-certificates.ts";
import { decodeBundle, decodeKeyPair, type SecretData } from "./secret-data.ts";
import { settleCertificates } from "./settle-certificates.ts";

export interface CertificateKeeperOptions {
  readonly client: KubeClient;
  readonly teller: Teller;
  readonly timing: Timing;
  readonly activity: Activity;
  readonly plan?: Partial<AuthorityPlan> | undefined;
  readonly leafDays?: number | undefined;
  /** How often it is looked whether anything is due. */
  readonly everyMs?: number | undefined;
}

interface KeptSecret extends AnyObject {
  readonly data?: SecretData;
}

const usualEveryMs = 60_000;
const key = "certificates";
/** Of an object that is never made. */
const clockName = "bpfleet-clock";

/** Keeps the authority and its certificates in Secrets, and replaces each before it ends. */
export class CertificateKeeper implements Part {
  readonly name = "certificates";
  readonly #options: CertificateKeeperOptions;
  readonly #secrets: ReadonlyMap<string, Informer<KeptSecret>>;
  readonly #listeners = new Set<() => void>();
  readonly #work: LeadingController;

  constructor(options: CertificateKeeperOptions) {
    this.#options = options;
    this.#work = new LeadingController({
      name: this.name,
      timing: options.timing,
      teller: options.teller,
      reconcile: (_key, stop) => this.#keep(stop),
    });
    const { client, teller } = options;
    this.#secrets = new Map(
      Object.values(secretNames).map((name) => {
        const informer = createInformer<KeptSecret>(client, {
          resource: { ...resources.secrets, namespace: ownNamespace, name },
          onFault: (error) => teller.fault(error),
        });
        informer.onChange(() => {
          this.#work.add(key);
          if (name === secretNames.webhook) for (const listener of this.#listeners) listener();
        });
        return [name, informer.start()] as const;
      }),
    );
  }

  /** What the webhook serves with, and what its clients are to trust; on every replica. */
  webhookCertificate(): (KeyPair & { readonly bundle: string }) | undefined {
    const data = this.#dataOf(secretNames.webhook);
    const [pair, bundle] = [decodeKeyPair(data), decodeBundle(data)];
    return pair === undefined || bundle === undefined ? undefined : { ...pair, bundle };
  }

  onWebhookCertificate(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async removeAll(signal: AbortSignal): Promise<void> {
    for (const [name, informer] of this.#secrets) {
      if (informer.size === 0) continue;
      await this.#options.client.delete({ ...resources.secrets, namespace: ownNamespace, name }, { signal });
      this.#options.teller.wrote("delete", `Secret ${name}`, "the fleet is undeployed");
    }
  }

  async lead(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#secrets.values()].map((informer) => informer.synced(signal)));
    await this.#work.lead(signal, () => this.#work.add(key));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#secrets.values()].map((informer) => informer.stop()));
  }

  async #keep(signal: AbortSignal): Promise<Outcome> {
    if (!this.#options.activity.isServing) return this.#options.activity.askAgain();
    const again = recheckAfter(this.#options.everyMs ?? usualEveryMs);
    const { plan, timing } = this.#options;
    await settleCertificates<KeptSecret>(
      {
        read: (name) => this.#read(name, signal),
        write: (name, live, type, data, because) => this.#write(name, live, type, data, because, signal),
        otherClock: () => this.#serverClock(signal),
      },
      { authority: { ...defaultAuthorityPlan, ...plan }, leafDays: this.#options.leafDays ?? leafDays },
      timing.now(),
    );
    return again;
  }

  /** As it is now: a copy that is a moment old would make a second authority. */
  #read(name: string, signal: AbortSignal): Promise<KeptSecret | undefined> {
    return this.#options.client.find<KeptSecret>({ ...resources.secrets, namespace: ownNamespace, name }, { signal });
  }

  /** The API server's clock, from the object that it would make. */
  async #serverClock(signal: AbortSignal): Promise<number> {
    const lease = {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: { name: clockName, namespace: ownNamespace },
    };
    const answer = await this.#options.client.create<AnyObject>({ ...leases, namespace: ownNamespace }, lease, {
      fieldManager,
      isDryRun: true,
      signal,
    });
    return Date.parse(answer.metadata.creationTimestamp ?? "");
  }

  async #write(
    name: string,
    live: KeptSecret | undefined,
    type: string,
    data: SecretData,
    because: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { client, teller } = this.#options;
    // With its version it is refused when somebody else wrote meanwhile: two authorities would part the fleet.
    const version =
      live === undefined ? {} : { resourceVersion: live.metadata.resourceVersion, uid: live.metadata.uid };
    const secret = {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name, namespace: ownNamespace, labels: madeByOperator, ...version },
      type,
      data,
    };
    await client.apply<KeptSecret>({ ...resources.secrets, namespace: ownNamespace }, secret, {
      fieldManager,
      isForced: true,
      signal,
    });
    teller.wrote("apply", `Secret ${name}`, because);
  }

  #dataOf(name: string): SecretData | undefined {
    return this.#secrets.get(name)?.list()[0]?.data;
  }
}
