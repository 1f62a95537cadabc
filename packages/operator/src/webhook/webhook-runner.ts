import type { DefinedKind, LintPod, LintView, OwnAddress } from "@bpfleet/kinds";
import type { AnyObject } from "@bpfleet/kube";
import { createInformer, type Informer, type KubeClient, type Timing } from "@bpfleet/kube-client";
import type { AddressedPod } from "../addresses/known-addresses.ts";
import type { CertificateKeeper } from "../certificates/certificate-keeper.ts";
import { daemonSetName, operatorName, ownNamespace } from "../desired/names.ts";
import type { NodeRegister } from "../nodes/node-register.ts";
import { resources } from "../reconcile/resources.ts";
import type { Teller } from "../run/part.ts";
import { reviewAdmission } from "./review-admission.ts";
import { serveWebhook, type WebhookServer } from "./webhook-server.ts";

export interface WebhookRunnerOptions {
  readonly client: KubeClient;
  readonly kinds: readonly DefinedKind[];
  readonly host?: string | undefined;
  readonly port: number;
  readonly certificates: Pick<CertificateKeeper, "webhookCertificate" | "onWebhookCertificate">;
  readonly nodes: Pick<NodeRegister, "size" | "list">;
  readonly pods: () => readonly AddressedPod[] | undefined;
  readonly teller: Teller;
  readonly timing: Timing;
}

/** Between two tries to listen. */
const listenAgainMs = 5000;

const ownUsers = [daemonSetName, operatorName].map((account) => `system:serviceaccount:${ownNamespace}:${account}`);

/** Serves admission on every replica as soon as there is a certificate, and with each new one from then on. */
export class WebhookRunner implements AsyncDisposable {
  readonly #options: WebhookRunnerOptions;
  readonly #namespaces: Informer<AnyObject>;
  readonly #stopListening: () => void;
  readonly #ending = new AbortController();
  #server: Promise<WebhookServer | undefined> = Promise.resolve(undefined);
  #port: number | undefined;

  constructor(options: WebhookRunnerOptions) {
    this.#options = options;
    const { client, certificates, teller } = options;
    this.#namespaces = createInformer<AnyObject>(client, {
      resource: resources.namespaces,
      transform: ({ apiVersion, kind, metadata: { name, uid, resourceVersion, labels } }) => ({
        apiVersion,
        kind,
        metadata: { name, uid, resourceVersion, labels },
      }),
      onFault: (error) => teller.fault(error),
    }).start();
    this.#stopListening = certificates.onWebhookCertificate(() => this.#renew());
    this.#renew();
  }

  get port(): number | undefined {
    return this.#port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopListening();
    this.#ending.abort();
    const server = await this.#server;
    await server?.[Symbol.asyncDispose]();
    await this.#namespaces.stop();
  }

  #renew(): void {
    const { certificates, teller } = this.#options;
    const certificate = certificates.webhookCertificate();
    if (certificate === undefined) return;
    this.#server = this.#server.then(async (server) => {
      if (this.#ending.signal.aborted) return server;
      try {
        if (server === undefined) return await this.#serve(certificate);
        server.useCertificate(certificate);
      } catch (error) {
        teller.failed("webhook", { key: "", error });
        if (server === undefined) void this.#renewLater();
      }
      return server;
    });
  }

  async #renewLater(): Promise<void> {
    const { signal } = this.#ending;
    await this.#options.timing.sleep(listenAgainMs, signal);
    if (!signal.aborted) this.#renew();
  }

  async #serve(certificate: Parameters<WebhookServer["useCertificate"]>[0]): Promise<WebhookServer> {
    const { kinds, host, port, teller } = this.#options;
    const server = await serveWebhook({
      host,
      port,
      certificate,
      answer: (review) => reviewAdmission(review, { kinds, view: this.#view(), ownUsers }),
      onFault: (error) => teller.failed("webhook", { key: "", error }),
    });
    this.#port = server.port;
    return server;
  }

  #view(): LintView {
    const { nodes, pods } = this.#options;
    const known = pods();
    return {
      findPods: (isMeant, most) => known && this.#findPods(known, isMeant, most),
      findNodes: (isMeant) =>
        nodes.size === 0
          ? undefined
          : nodes.list().flatMap(({ metadata }) => (isMeant({ labels: metadata.labels ?? {} }) ? [metadata.name] : [])),
      ownAddresses: nodes
        .list()
        .flatMap(({ metadata, addresses }): OwnAddress[] =>
          addresses.map((address) => ({ address, owner: `node ${metadata.name}`, isOfNode: true })),
        ),
    };
  }

  #findPods(
    known: readonly AddressedPod[],
    isMeant: Parameters<LintView["findPods"]>[0],
    most: number,
  ): readonly LintPod[] {
    const found: LintPod[] = [];
    for (const { metadata, set, ips, isHostNetwork = false } of known) {
      if (found.length >= most) break;
      if (set === undefined) continue;
      const { name, namespace } = metadata;
      const namespaceLabels = this.#namespaces.find(namespace ?? "")?.metadata.labels;
      const { labels, serviceAccount, ports: namedPorts = [] } = set;
      const addresses = ips === "" ? [] : ips.split(" ");
      const pod = { name, labels, namespace, namespaceLabels, serviceAccount, namedPorts, addresses, isHostNetwork };
      if (isMeant(pod)) found.push(pod);
    }
    return found;
  }
}
