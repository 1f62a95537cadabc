/** A pod, and a node that has every back end as an address of its own; the programs stand at the node's end. */
import type { Socket } from "node:net";
import { InnerProcess, KernelSandbox } from "@bpfleet/native/testing";
import * as make from "../../filter/testing/packets.ts";
import { idOfPort, serialOfServices } from "../services/digest-services.ts";
import { parseAddressKey } from "../compile/address-key.ts";
import { packPlaces, type Places, type ServiceTablePort } from "../services/service-table.ts";
import { LoadedPolicy } from "./loaded-policy.ts";
import { addressOf, smallTable, type SmallPolicy, type SmallRule } from "./small-table.ts";

export { idOfPort };

export const tcp = 6;
export const udp = 17;

/** Two back ends of each family; the pod; the Service's address. */
export const places = {
  ipv4: { pod: "10.9.0.2", service: "10.96.0.10", first: "10.9.0.11", second: "10.9.0.12" },
  ipv6: { pod: "fd09::2", service: "fd96::10", first: "fd09::11", second: "fd09::12" },
} as const;

export type Family = keyof typeof places;

export function bytesOf(text: string): Uint8Array {
  return addressOf(text.includes(":") ? make.v6(text) : make.v4(text));
}

export function placesOf(addresses: readonly string[], port: number): Places {
  return packPlaces(addresses.map((address) => ({ key: parseAddressKey(address) ?? "", port })));
}

/** Address → what it is called in rules. */
export const peers: SmallPolicy["peers"] = Object.fromEntries(
  Object.entries(places).flatMap(([family, { service, first, second }]) =>
    Object.entries({ service, first, second }).map(([name, text]) => [
      `${name} ${family}`,
      [text.includes(":") ? make.v6(text) : make.v4(text), text.includes(":") ? 128 : 32] as const,
    ]),
  ),
);

export interface Answer {
  /** What the client saw: `answered`, or an error's code, or `silence`. */
  readonly what: string;
  /** Address and port at which the server was reached, and by whom. */
  readonly at?: string;
  readonly by?: string;
  /** Who answered, as the client knows it. */
  readonly peer?: string;
}

export class ServiceRig implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly policy: LoadedPolicy;
  readonly node: InnerProcess;
  readonly pod: InnerProcess;
  /** Names of network namespaces. */
  readonly nodeNetns: string;
  readonly #ifindex: number;
  #serial = 0n;

  private constructor(
    stack: AsyncDisposableStack,
    made: Pick<ServiceRig, "policy" | "node" | "pod" | "nodeNetns">,
    ifindex: number,
  ) {
    this.#stack = stack;
    this.policy = made.policy;
    this.node = made.node;
    this.pod = made.pod;
    this.nodeNetns = made.nodeNetns;
    this.#ifindex = ifindex;
  }

  static async start(): Promise<ServiceRig> {
    const stack = new AsyncDisposableStack();
    const sandbox = stack.use(new KernelSandbox());
    const { near, far } = sandbox.pair();
    for (const { first, second } of Object.values(places)) {
      for (const address of [first, second]) addAddress(sandbox, near.name, address);
    }
    addAddress(sandbox, near.name, "fd09::1");
    addAddress(sandbox, far.name, places.ipv6.pod);
    sandbox.ip(far.name, "route", "add", "default", "via", "10.9.0.1");
    sandbox.ip(far.name, "-6", "route", "add", "default", "via", "fd09::1");
    const policy = stack.use(await LoadedPolicy.load(4096, { translates_services: true }));
    const at = { inNetns: near.path };
    stack.use(await policy.programs.ingress.attach({ tcx: near.ifindex, dir: "egress" }, at));
    stack.use(await policy.programs.egress.attach({ tcx: near.ifindex, dir: "ingress" }, at));
    const node = stack.use(await InnerProcess.start({ netns: near.name }));
    const pod = stack.use(await InnerProcess.start({ netns: far.name }));
    const addresses = Object.values(places).flatMap(({ first, second }) => [first, second]);
    await node.run(serve, { addresses, port: 9 });
    return new ServiceRig(stack, { policy, node, pod, nodeNetns: near.name }, near.ifindex);
  }

  /** Only what the pod sends is restricted. */
  async allow(rules: readonly SmallRule[], more: Partial<SmallPolicy> = {}): Promise<void> {
    this.#serial += 1n;
    const table = { serial: this.#serial, peers, egress: [{ rules }], ifindex: this.#ifindex, ...more };
    await this.policy.put(smallTable(table));
  }

  async serve(ports: readonly ServiceTablePort[]): Promise<void> {
    await this.policy.putServices({ serial: serialOfServices(ports), ports });
  }

  /** From a port of its own each time, unless it is told. */
  ask(protocol: "tcp" | "udp", address: string, port: number, options: AskOptions = {}): Promise<Answer> {
    return this.pod.run(ask, { protocol, address, port, size: 10, from: 0, ...options });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

export interface AskOptions {
  readonly size?: number;
  readonly from?: number;
}

function addAddress(sandbox: KernelSandbox, netns: string, address: string): void {
  const isIpv6 = address.includes(":");
  const flags = isIpv6 ? ["nodad"] : [];
  sandbox.ip(netns, "address", "add", `${address}/${isIpv6 ? 64 : 24}`, "dev", "v0", ...flags);
}

/** Says who asked, and where; over TCP to each chunk anew. */
async function serve({ addresses, port }: { addresses: readonly string[]; port: number }): Promise<void> {
  const { createServer } = process.getBuiltinModule("node:net");
  const { createSocket } = process.getBuiltinModule("node:dgram");
  for (const address of addresses) {
    const server = createServer((socket) => {
      const say = (): unknown =>
        socket.write(JSON.stringify({ at: address, by: `${socket.remoteAddress} ${socket.remotePort}` }));
      socket.on("error", () => undefined).on("data", say);
    });
    await new Promise<void>((done) => server.listen(port, address, done));
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    socket.on("message", (message, from) => {
      const said = JSON.stringify({ at: address, by: `${from.address} ${from.port}` });
      socket.send(said.padEnd(message.length), from.port, from.address);
    });
    await new Promise<void>((done) => socket.bind(port, address, done));
  }
}

type AskArguments = Required<AskOptions> & {
  readonly protocol: "tcp" | "udp";
  readonly address: string;
  readonly port: number;
};

async function ask({ protocol, address, port, size, from }: AskArguments): Promise<Answer> {
  const waitMs = 1000;
  const isIpv6 = address.includes(":");
  if (protocol === "tcp") {
    const { connect } = process.getBuiltinModule("node:net");
    const socket = connect({ host: address, port, ...(from !== 0 && { localPort: from }) });
    try {
      return await new Promise<Answer>((done) => {
        socket.once("error", ({ code = "?" }: NodeJS.ErrnoException) => done({ what: code }));
        socket.once("connect", () => socket.write(Buffer.alloc(size)));
        socket.once("data", (said) => {
          const peer = `${socket.remoteAddress} ${socket.remotePort}`;
          done({ what: "answered", peer, ...(JSON.parse(String(said)) as object) });
        });
        setTimeout(() => done({ what: "silence" }), waitMs);
      });
    } finally {
      (socket as Socket & { resetAndDestroy(): void }).resetAndDestroy();
    }
  }
  const { createSocket } = process.getBuiltinModule("node:dgram");
  const socket = createSocket(isIpv6 ? "udp6" : "udp4");
  let again: NodeJS.Timeout | undefined;
  try {
    if (from !== 0) await new Promise<void>((done) => socket.bind(from, done));
    return await new Promise<Answer>((done) => {
      socket.once("error", ({ code = "?" }: NodeJS.ErrnoException) => done({ what: code }));
      socket.once("message", (said, { address: by, port: at }) =>
        done({ what: "answered", peer: `${by} ${at}`, ...(JSON.parse(String(said)) as object) }),
      );
      socket.connect(port, address, () => {
        socket.send(Buffer.alloc(size));
        // What went wrong with the first is told to the second.
        again = setTimeout(() => socket.send(Buffer.alloc(size), () => undefined), 100);
      });
      setTimeout(() => done({ what: "silence" }), waitMs);
    });
  } finally {
    clearTimeout(again);
    socket.close();
  }
}
