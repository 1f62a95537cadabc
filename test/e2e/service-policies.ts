import assert from "node:assert/strict";
import type { Fleet } from "./fleet.ts";

const back = (name: string): object[] => [
  {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels: { app: name } },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: "web",
          image: "localhost/busybox:1",
          imagePullPolicy: "Never",
          command: ["sh", "-c", `echo here is ${name} >/tmp/index.html; exec httpd -f -p 8080 -h /tmp`],
        },
      ],
    },
  },
  {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name },
    // Who asks from elsewhere is known by its own address.
    spec: {
      type: "NodePort",
      externalTrafficPolicy: "Local",
      selector: { app: name },
      ports: [{ port: 80, targetPort: 8080 }],
    },
  },
];

const asking = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "asking", labels: { app: "asking" } },
  spec: {
    terminationGracePeriodSeconds: 0,
    containers: [{ name: "sh", image: "localhost/busybox:1", imagePullPolicy: "Never", command: ["sleep", "100000"] }],
  },
};

/** The pod may ask one of both, and from elsewhere come only these addresses. */
const rules = (name: string, ...outside: readonly string[]): object[] => [
  {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "asks" },
    spec: {
      podSelector: { matchLabels: { app: "asking" } },
      policyTypes: ["Egress"],
      egress: [{ to: [{ podSelector: { matchLabels: { app: name } } }], ports: [{ port: 8080 }] }],
    },
  },
  {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "heard" },
    spec: {
      podSelector: { matchLabels: { app: "cake" } },
      policyTypes: ["Ingress"],
      ingress: [{ from: [{ podSelector: {} }, ...outside.map((address) => ({ ipBlock: { cidr: `${address}/32` } }))] }],
    },
  },
];

const backends = ["bread", "cake"] as const;
const outer = "10.77.0.1";

interface Place {
  readonly cluster: string;
  readonly node: string;
}

/** Pods ask Services by their own and by the node's address, beside a real kube-proxy; the agent has told the daemon of both. */
export class ServicePolicies {
  readonly #fleet: Fleet;
  readonly #places = new Map<string, Place>();

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
  }

  async declare(): Promise<void> {
    const { cluster, node } = this.#fleet;
    const items = [...backends.flatMap(back), asking];
    await this.#apply(items);
    for (const name of [...backends, "asking"])
      await cluster.kubectl(["wait", "--for=condition=Ready", `pod/${name}`, "--timeout=120s"]);
    for (const name of backends) {
      const path = "jsonpath={.spec.clusterIP} {.spec.ports[0].nodePort}";
      const [address, port] = (await cluster.kubectl(["get", "service", name, "-o", path])).split(" ");
      this.#places.set(name, { cluster: `${address}:80`, node: `${node.address}:${port}` });
    }
  }

  async judge(): Promise<void> {
    const { cluster } = this.#fleet;
    await cluster.until("the node port of a pod that hears everybody", () => this.#isHeardOutside("cake"));
    await this.#permit("bread");
    await cluster.until("bread answers", () => this.#ask("bread"));
    assert.equal(await this.#ask("cake"), false, "a back end that no rule names");
    assert.equal(await this.#isHeardOutside("cake"), false, "no rule names who is outside");
    await this.#permit("cake", outer);
    await cluster.until("cake answers", () => this.#ask("cake"));
    assert.equal(await this.#ask("bread"), false, "a back end that no rule names any more");
    await cluster.until("the node port, once a rule names who is outside", () => this.#isHeardOutside("cake"));
  }

  /** In the pod of the daemon, as the documents do it; what `judge` left. */
  async look(): Promise<void> {
    const { cluster } = this.#fleet;
    const inSet = (...words: readonly string[]): Promise<string> =>
      cluster.kubectl(["exec", "-n", "kube-system", "daemonset/bpfd-daemon", "--", "ebpfctl", ...words]);
    const dump = JSON.parse(await inSet("policy", "dump", "asking", "-o", "json")) as {
      readonly endpoints: readonly { readonly interface: string }[];
    };
    const [endpoint] = dump.endpoints;
    assert.ok(endpoint !== undefined);
    assert.match(await inSet("policy", "dump", "asking"), /NetworkPolicy default\/asks spec\.egress\[0\]/);
    assert.match(
      await inSet("conntrack", "dump", "asking", "--all", "-o", "wide"),
      /8080.*NetworkPolicy default\/asks/,
    );
    assert.match(await inSet("get", "networkpolicies"), /^asks /m);
    await inSet("policy", "shadow");

    const address = (name: string) => cluster.kubectl(["get", "pod", name, "-o", "jsonpath={.status.podIP}"]);
    const packet = [
      "--from",
      await address("asking"),
      "--to",
      await address("bread"),
      "--proto",
      "tcp",
      "--dport",
      "8080",
    ];
    const explained = await this.#ended("explain", "explain", "-i", endpoint.interface, ...packet);
    assert.match(explained, /isolated by NetworkPolicy default\/asks spec\b/);
    assert.match(explained, /the smallest edit that lets it through: add to NetworkPolicy default\/asks spec\.egress/);

    const traced = this.#ended("trace", "trace", "networkpolicy", "asks", "--drops", "--count", "1");
    let isOver = false;
    void traced.finally(() => (isOver = true)).catch(() => undefined);
    await cluster.until("a drop is told", async () => {
      await this.#ask("bread");
      return isOver;
    });
    assert.match(await traced, /drop .*:8080 (\(.*\) )?tcp.*NetworkPolicy default\/asks/);
  }

  async remove(): Promise<void> {
    const { kubectl } = this.#fleet.cluster;
    const pods = [...backends, "asking"].map((name) => `pod/${name}`);
    const services = backends.map((name) => `service/${name}`);
    const policies = ["asks", "heard"].map((name) => `networkpolicy/${name}`);
    await kubectl(["delete", ...policies, ...services, ...pods, "--wait=false"]);
  }

  /** Until both are in force. */
  async #permit(...names: Parameters<typeof rules>): Promise<void> {
    const { cluster } = this.#fleet;
    await this.#apply(rules(...names));
    for (const name of ["asks", "heard"])
      await cluster.until(`${name} in force`, async () => {
        const text = await cluster.kubectl(["get", "nodestate", this.#fleet.node.name, "-o", "json"]);
        const generation = await cluster.kubectl([
          "get",
          "networkpolicy",
          name,
          "-o",
          "jsonpath={.metadata.generation}",
        ]);
        const { status } = JSON.parse(text) as { status?: { results?: readonly NodeResult[] } };
        const result = status?.results?.find((each) => each.kind === "NetworkPolicy" && each.name === name);
        return result?.state === "InForce" && result.observedGeneration === Number(generation);
      });
  }

  /** By the Service's address, and by a port of the node: both or none. */
  async #ask(name: (typeof backends)[number]): Promise<boolean> {
    const { cluster, node } = this.#places.get(name) ?? assert.fail(name);
    const answers = await Promise.all([cluster, node].map((place) => this.#get(place)));
    const heard = answers.map((answer) => answer?.includes(`here is ${name}`) === true);
    assert.equal(heard[0], heard[1], JSON.stringify(answers));
    return heard[0] === true;
  }

  #get(place: string): Promise<string | undefined> {
    const ask = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 ${place.replace(":", " ")}`;
    return this.#fleet.cluster.kubectl(["exec", "asking", "--", "sh", "-c", ask]).catch(() => undefined);
  }

  #isHeardOutside(name: (typeof backends)[number]): Promise<boolean> {
    const { node } = this.#places.get(name) ?? assert.fail(name);
    const ask = `fetch("http://${node}/", { signal: AbortSignal.timeout(2000) }).then(() => 0, () => 1).then(process.exit)`;
    return this.#fleet.cluster.network.run([process.execPath, "-e", ask]).then(
      () => true,
      () => false,
    );
  }

  /** What a command in the daemon's pod printed, whatever its exit code. */
  async #ended(name: string, ...words: readonly string[]): Promise<string> {
    const command = ["exec", "-n", "kube-system", "daemonset/bpfd-daemon", "--", "ebpfctl", ...words];
    await using running = this.#fleet.cluster.start(name, command);
    await running.ended;
    return running.tail();
  }

  async #apply(items: readonly object[]): Promise<void> {
    await this.#fleet.apply(JSON.stringify({ apiVersion: "v1", kind: "List", items }));
  }
}

interface NodeResult {
  readonly kind: string;
  readonly name: string;
  readonly state: string;
  readonly observedGeneration?: number;
}
