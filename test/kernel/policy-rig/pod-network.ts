import { execFileSync } from "node:child_process";
import { KernelSandbox } from "@bpfleet/native/testing";

export interface RigPod {
  readonly namespace: string;
  readonly name: string;
  readonly ipv4: string;
  readonly ipv6: string;
}

/** How plug-ins connect pods: each by a route of its own, or all in one bridge. */
export type Wiring = "routed" | "bridged";

export const nodeIpv4 = "192.168.1.200";
export const nodeIpv6 = "fd00:192:168:1::c8";
export const gatewayIpv4 = "169.254.1.1";
const gatewayIpv6 = "fe80::1";

/** `x/a` */
export function podKey({ namespace, name }: Pick<RigPod, "namespace" | "name">): string {
  return `${namespace}/${name}`;
}

/** A pod of the rig; `number` is the end of its addresses. */
export function rigPod(namespace: string, name: string, number: number): RigPod {
  return { namespace, name, ipv4: `192.168.1.${number}`, ipv6: `fd00:192:168:1::${number.toString(16)}` };
}

/** Network namespaces of pods, each with a veth pair to the one of their node. */
export class PodNetwork implements AsyncDisposable {
  readonly sandbox: KernelSandbox;
  readonly wiring: Wiring;
  /** The node's. */
  readonly node: { readonly name: string; readonly path: string };
  /** By `podKey`: names of network namespaces. */
  readonly netns = new Map<string, string>();
  #wired = 0;

  constructor(wiring: Wiring) {
    this.sandbox = new KernelSandbox();
    this.wiring = wiring;
    this.node = this.sandbox.netns();
    const bridge = [
      "link add br0 type bridge forward_delay 0 mcast_snooping 0",
      `address add ${nodeIpv4}/24 dev br0`,
      `address add ${nodeIpv6}/64 dev br0 nodad`,
      "link set br0 up",
    ];
    const own = [`address add ${nodeIpv4}/32 dev lo`, `address add ${nodeIpv6}/128 dev lo nodad`];
    this.#batch(this.node.name, wiring === "bridged" ? bridge : own);
    this.#set(this.node.name, "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
  }

  add(pod: RigPod): void {
    const netns = this.sandbox.netns().name;
    this.netns.set(podKey(pod), netns);
    this.wire(pod);
  }

  /** The interface of a pod, named on the node as it is returned. */
  wire(pod: RigPod): string {
    const netns = this.netnsOf(pod);
    const host = `h${this.#wired++}`;
    const isRouted = this.wiring === "routed";
    this.#batch(this.node.name, [
      `link add ${host} type veth peer name eth0 netns ${netns}`,
      ...(isRouted
        ? [
            `address add ${gatewayIpv4}/32 dev ${host}`,
            `address add ${gatewayIpv6}/64 dev ${host} nodad`,
            `link set ${host} up`,
            `route add ${pod.ipv4}/32 dev ${host} src ${nodeIpv4}`,
            `route add ${pod.ipv6}/128 dev ${host} src ${nodeIpv6}`,
          ]
        : [`link set ${host} master br0`, `link set ${host} up`]),
    ]);
    this.#batch(netns, [
      `address add ${pod.ipv4}/${isRouted ? 32 : 24} dev eth0`,
      `address add ${pod.ipv6}/${isRouted ? 128 : 64} dev eth0 nodad`,
      "link set eth0 up",
      ...(isRouted
        ? [
            `route add ${gatewayIpv4}/32 dev eth0`,
            `route add default via ${gatewayIpv4} dev eth0`,
            `route add default via ${gatewayIpv6} dev eth0 src ${pod.ipv6}`,
          ]
        : [`route add default via ${nodeIpv4}`, `route add default via ${nodeIpv6}`]),
    ]);
    return host;
  }

  /** Takes the interface away; the network namespace stays. */
  unwire(pod: RigPod): void {
    this.sandbox.ip(this.netnsOf(pod), "link", "delete", "eth0");
  }

  remove(pod: RigPod): void {
    this.sandbox.removeNetns(this.netnsOf(pod));
    this.netns.delete(podKey(pod));
  }

  netnsOf(pod: RigPod): string {
    const netns = this.netns.get(podKey(pod));
    if (netns === undefined) throw new RangeError(`find pod ${podKey(pod)}: it is not in the rig`);
    return netns;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sandbox[Symbol.asyncDispose]();
  }

  #batch(netns: string, commands: readonly string[]): void {
    for (const family of ["-4", "-6"]) {
      const own = commands.filter((command) => (family === "-6") === /:/.test(command));
      if (own.length > 0)
        execFileSync("ip", [family, "-n", netns, "-batch", "-"], {
          input: `${own.join("\n")}\n`,
          stdio: ["pipe", "pipe", "pipe"],
        });
    }
  }

  #set(netns: string, ...settings: readonly string[]): void {
    execFileSync("ip", ["netns", "exec", netns, "sysctl", "-qw", ...settings]);
  }
}
