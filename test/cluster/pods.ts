import { mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { dirname, join } from "node:path";
import type { ApiServer } from "./api-server.ts";

const createdAtOnce = 16;

/** A pod as a Deployment makes them, with as much in it as people write. */
export function podOf(name: string, namespace: string, nodeName: string): object {
  const containers = [{ name: "c", image: "example.com/none:1", env: [{ name: "SOME", value: "x".repeat(500) }] }];
  const labels = { app: name.replace(/-\d+$/, ""), "pod-template-hash": "5d8f7b9c6d" };
  return { apiVersion: "v1", kind: "Pod", metadata: { name, namespace, labels }, spec: { nodeName, containers } };
}

/** Makes the pods with numbers from `first` on; their uids. */
export async function createPods(
  server: ApiServer,
  namespace: string,
  nodeName: string,
  [first, last]: readonly [number, number],
): Promise<readonly string[]> {
  const path = `/api/v1/namespaces/${namespace}/pods`;
  const uids: string[] = [];
  let next = first;
  const work = async (): Promise<void> => {
    while (next < last) {
      const pod = podOf(`web-${nodeName}-${next++}`, namespace, nodeName);
      const { status, body } = await server.call("POST", path, pod);
      if (status !== 201) throw new Error(`create a pod: ${status} ${JSON.stringify(body)}`);
      uids.push(String((body["metadata"] as { readonly uid?: string }).uid));
    }
  };
  await Promise.all(Array.from({ length: createdAtOnce }, work));
  return uids;
}

/** Where cgroup v2 is. */
export function findCgroupMount(): string | undefined {
  const lines = readFileSync("/proc/self/mounts", "utf8").split("\n");
  return lines.map((line) => line.split(" ")).find(([, , type]) => type === "cgroup2")?.[1];
}

/** Cgroups as a kubelet makes them, `kubepods/besteffort/pod…`. */
export class PodCgroups implements Disposable {
  readonly #mount: string;
  readonly #made: string[] = [];
  readonly #remove = (): void => this.#removeAll();

  constructor() {
    const mount = findCgroupMount();
    if (mount === undefined) throw new Error("find cgroup v2: it is not mounted");
    this.#mount = mount;
    process.on("exit", this.#remove);
  }

  add(uid: string): string {
    const path = join(this.#mount, `kubepods/besteffort/pod${uid}`);
    mkdirSync(path, { recursive: true });
    this.#made.push(path);
    return path;
  }

  [Symbol.dispose](): void {
    this.#removeAll();
    process.off("exit", this.#remove);
  }

  /** Those above them too, when nobody else is in them. */
  #removeAll(): void {
    for (const path of this.#made.splice(0)) {
      try {
        for (let each = path; each !== this.#mount; each = dirname(each)) rmdirSync(each);
      } catch {
        // Somebody else's are in it.
      }
    }
  }
}
