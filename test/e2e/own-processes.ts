import type { Fleet } from "./fleet.ts";

export interface OwnProcess {
  readonly container: string;
  /** Real, effective, saved, and of the file system. */
  readonly users: readonly string[];
  readonly permitted: bigint;
  readonly effective: bigint;
}

interface Pods {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly status: {
      readonly containerStatuses?: readonly { readonly name: string; readonly containerID?: string }[];
    };
  }[];
}

const listing = `for p in /proc/[0-9]*; do echo "$(cat $p/cgroup $p/status 2>/dev/null | tr '\\n\\t' '; ')"; done`;

const ours = ["-n", "kube-system", "get", "pods", "-l", "app.kubernetes.io/part-of=bpfleet", "-o", "json"];

/** What each running container of ours is told when it writes to these files, by the Node that it has. */
export async function tryToWrite({ cluster }: Fleet, paths: readonly string[]) {
  const script = `const { writeFileSync } = require("fs");
    console.log(JSON.stringify(${JSON.stringify(paths)}.map((path) => {
      try { writeFileSync(path, ""); } catch ({ code }) { return code; }
    })))`;
  const { items } = JSON.parse(await cluster.kubectl(ours)) as Pods;
  const all = items.flatMap(({ metadata, status: { containerStatuses = [] } }) =>
    containerStatuses.map(({ name }) => [metadata.name, name] as const),
  );
  const tried: { readonly container: string; readonly errors: readonly (string | null)[] }[] = [];
  for (const [pod, container] of all) {
    const command = ["-n", "kube-system", "exec", pod, "-c", container, "--", "node", "-e", script];
    tried.push({ container, errors: JSON.parse(await cluster.kubectl(command)) });
  }
  return tried;
}

/** Every process in a container of ours on the first node, whatever its program, with the containers that are to have some. */
export async function ownProcesses({ cluster, node }: Fleet): Promise<{
  readonly containers: readonly string[];
  readonly processes: readonly OwnProcess[];
}> {
  const { items } = JSON.parse(await cluster.kubectl(ours)) as Pods;
  const containers = items.flatMap(({ status: { containerStatuses = [] } }) =>
    containerStatuses.flatMap(({ name, containerID = "" }) => {
      const [, id] = /^containerd:\/\/([0-9a-f]{64})$/.exec(containerID) ?? [];
      return id === undefined ? [] : [{ name, id }];
    }),
  );
  const lines = (await node.run(["sh", "-c", listing])).split("\n");
  const processes = lines.flatMap((line): OwnProcess[] => {
    const container = containers.find(({ id }) => line.includes(id));
    if (container === undefined) return [];
    const [, users = ""] = /;Uid: ([\d ]+);/.exec(line) ?? [];
    const capabilities = (name: string): bigint => BigInt(`0x${new RegExp(`;${name}: (\\w+);`).exec(line)?.[1]}`);
    return [
      {
        container: container.name,
        users: users.split(" "),
        permitted: capabilities("CapPrm"),
        effective: capabilities("CapEff"),
      },
    ];
  });
  return { containers: containers.map(({ name }) => name), processes };
}
