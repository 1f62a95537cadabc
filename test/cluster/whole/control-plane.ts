import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Authority } from "./authority.ts";
import type { Network } from "./network.ts";
import { Running } from "./processes.ts";

export const controlPlaneAddress = "10.77.0.1";
export const podRange = "10.64.0.0/10";
export const server: string = `https://${controlPlaneAddress}:6443`;
const serviceRange = "10.96.0.0/16";
const store = "http://127.0.0.1:2379";

export interface ControlPlanePlaces {
  /** etcd, kube-apiserver, kubectl. */
  readonly binaries: string;
  /** kube-controller-manager, kube-scheduler. */
  readonly moreBinaries: string;
  readonly folder: string;
  readonly logs: string;
}

/** etcd, API server, controller manager and scheduler, in the namespace of the switch. */
export class ControlPlane {
  readonly #places: ControlPlanePlaces;
  readonly #network: Network;
  readonly #authority: Authority;
  readonly #running = new Map<string, Running>();

  constructor(places: ControlPlanePlaces, network: Network, authority: Authority) {
    this.#places = places;
    this.#network = network;
    this.#authority = authority;
  }

  async start(): Promise<void> {
    const { certify, kubeconfig } = bound(this.#authority);
    certify(
      "apiserver",
      "/CN=kube-apiserver",
      "serverAuth",
      `DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:10.96.0.1,IP:${controlPlaneAddress}`,
    );
    certify("admin", "/O=system:masters/CN=admin", "clientAuth");
    certify("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client", "clientAuth");
    for (const name of ["controller-manager", "scheduler"]) certify(name, `/CN=system:kube-${name}`, "clientAuth");
    kubeconfig("admin", server);
    mkdirSync(join(this.#places.folder, "etcd"), { recursive: true, mode: 0o700 });
    this.#start("etcd", this.#places.binaries, [
      `--data-dir=${join(this.#places.folder, "etcd")}`,
      "--unsafe-no-fsync",
      `--listen-client-urls=${store}`,
      `--advertise-client-urls=${store}`,
      "--listen-peer-urls=http://127.0.0.1:0",
    ]);
    await this.startApiServer();
    this.#start("kube-controller-manager", this.#places.moreBinaries, [
      `--kubeconfig=${kubeconfig("controller-manager", server)}`,
      "--bind-address=127.0.0.1",
      "--leader-elect=false",
      "--use-service-account-credentials",
      `--service-account-private-key-file=${this.#pki("accounts.key")}`,
      `--root-ca-file=${this.#pki("ca.crt")}`,
      `--cluster-signing-cert-file=${this.#pki("ca.crt")}`,
      `--cluster-signing-key-file=${this.#pki("ca.key")}`,
      `--cluster-cidr=${podRange}`,
      "--node-cidr-mask-size=24",
      "--allocate-node-cidrs=true",
      `--service-cluster-ip-range=${serviceRange}`,
      // A node that ended is seen in seconds, not in the 40 of the default.
      "--node-monitor-grace-period=12s",
    ]);
    this.#start("kube-scheduler", this.#places.moreBinaries, [
      `--kubeconfig=${kubeconfig("scheduler", server)}`,
      "--bind-address=127.0.0.1",
      "--leader-elect=false",
    ]);
  }

  async startApiServer(): Promise<void> {
    const apiServer = this.#start("kube-apiserver", this.#places.binaries, [
      `--etcd-servers=${store}`,
      `--bind-address=${controlPlaneAddress}`,
      `--advertise-address=${controlPlaneAddress}`,
      "--secure-port=6443",
      `--tls-cert-file=${this.#pki("apiserver.crt")}`,
      `--tls-private-key-file=${this.#pki("apiserver.key")}`,
      `--client-ca-file=${this.#pki("ca.crt")}`,
      "--authorization-mode=Node,RBAC",
      "--enable-admission-plugins=NodeRestriction",
      "--service-account-issuer=https://kubernetes.default.svc",
      `--service-account-key-file=${this.#pki("accounts.pub")}`,
      `--service-account-signing-key-file=${this.#pki("accounts.key")}`,
      `--service-cluster-ip-range=${serviceRange}`,
      "--allow-privileged=true",
      // No kube-proxy runs beside the API server: webhooks are reached by the addresses of their pods.
      "--enable-aggregator-routing=true",
      "--kubelet-preferred-address-types=InternalIP",
      `--kubelet-certificate-authority=${this.#pki("ca.crt")}`,
      `--kubelet-client-certificate=${this.#pki("kubelet-client.crt")}`,
      `--kubelet-client-key=${this.#pki("kubelet-client.key")}`,
    ]);
    const ask = [join(this.#places.binaries, "kubectl"), `--kubeconfig=${this.#pki("admin.kubeconfig")}`];
    await apiServer.until("answer", async () => (await this.#network.run([...ask, "get", "--raw=/readyz"])) === "ok");
  }

  /** As when it is killed: open connections break. */
  async killApiServer(): Promise<void> {
    await this.#running.get("kube-apiserver")?.kill();
  }

  async stop(): Promise<void> {
    await Promise.all(Array.from(this.#running.values(), (running) => running.kill()));
  }

  #start(name: string, folder: string, args: readonly string[]): Running {
    const running = new Running(name, this.#places.logs, this.#network.inside([join(folder, name), ...args]));
    this.#running.set(name, running);
    return running;
  }

  #pki(name: string): string {
    return this.#authority.path(name);
  }
}

function bound(authority: Authority): Pick<Authority, "certify" | "kubeconfig"> {
  return {
    certify: authority.certify.bind(authority),
    kubeconfig: authority.kubeconfig.bind(authority),
  };
}
