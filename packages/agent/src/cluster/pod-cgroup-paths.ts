import type { EndpointWish, NodeFacts } from "@bpfleet/kernel";
import { cgroupAnnotation, endpointKey, podName, type KubeObject } from "@bpfleet/kinds";
import type { AcceptedObject } from "../compile.ts";
import { podsOf, type PodPlaces } from "../pod-cgroups.ts";

/** How a kubelet names the cgroup of a pod; paths are below the cgroup v2 mount, wherever that is. */
type Style = (uid: string, qos: "" | "burstable" | "besteffort") => string;

const styles: readonly Style[] = [cgroupfs(""), systemd([]), cgroupfs("kubelet/"), systemd(["kubelet"])];

function cgroupfs(root: string): Style {
  return (uid, qos) => `${root}kubepods/${qos === "" ? "" : `${qos}/`}pod${uid}`;
}

/** `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod12_34.slice`: each name repeats those above it. */
function systemd(root: readonly string[]): Style {
  return (uid, qos) => {
    const steps = [...root, "kubepods", ...(qos === "" ? [] : [qos]), `pod${uid.replaceAll("-", "_")}`];
    return steps.map((_, at) => `${steps.slice(0, at + 1).join("-")}.slice`).join("/");
  };
}

/**
 * Finds the cgroup of each pod by its uid and class, in the style that the kubelet of this node uses. What a pod itself
 * says of its cgroup is not believed: whoever may make a pod could name another's.
 */
export class KubeletPods implements PodPlaces {
  #style: number | undefined;
  /** An object that is where it was is the same value as before. */
  readonly #placed = new WeakMap<
    AcceptedObject,
    { readonly path: string | undefined; readonly placed: AcceptedObject }
  >();

  candidates(objects: readonly AcceptedObject[]): readonly string[] {
    return objects
      .filter(isPod)
      .flatMap(({ parsed }) => this.#paths(parsed.object))
      .toSorted();
  }

  endpoints(objects: readonly AcceptedObject[], nodeName: string): readonly EndpointWish[] {
    return podsOf(objects, nodeName).map((pod) => ({
      key: endpointKey(pod),
      pod: podName(pod),
      cgroups: this.#paths(pod),
    }));
  }

  fingerprint({ cgroups }: NodeFacts): string {
    return JSON.stringify(cgroups);
  }

  place(objects: readonly AcceptedObject[], { cgroups }: NodeFacts): readonly AcceptedObject[] {
    return objects.map((accepted) => {
      if (!isPod(accepted)) return accepted;
      const { parsed } = accepted;
      const path = this.#find(parsed.object, cgroups);
      const known = this.#placed.get(accepted);
      if (known !== undefined && known.path === path) return known.placed;
      const { [cgroupAnnotation]: _said, ...rest } = parsed.object.metadata.annotations ?? {};
      const annotations = path === undefined ? rest : { ...rest, [cgroupAnnotation]: path };
      const metadata = { ...parsed.object.metadata, annotations };
      const placed = { ...accepted, parsed: { ...parsed, object: { ...parsed.object, metadata } } };
      this.#placed.set(accepted, { path, placed });
      return placed;
    });
  }

  #paths(pod: KubeObject): readonly string[] {
    const chosen = this.#style === undefined ? styles : styles.slice(this.#style, this.#style + 1);
    const { uid, qos } = cgroupFacts(pod);
    return uid === "" ? [] : chosen.map((style) => style(uid, qos));
  }

  #find(pod: KubeObject, cgroups: NodeFacts["cgroups"]): string | undefined {
    const { uid, qos } = cgroupFacts(pod);
    const paths = styles.map((style) => style(uid, qos));
    const at = paths.findIndex((path) => cgroups[path] !== undefined);
    // One kubelet has one style: the other paths need not be looked for any more.
    if (at >= 0) this.#style = at;
    return paths[at];
  }
}

function isPod({ parsed: { ref } }: AcceptedObject): boolean {
  return ref.group === "" && ref.kind === "Pod";
}

/** Of a static pod the API server has a mirror: the kubelet knows it by the hash of its file. */
function cgroupFacts({ metadata, status }: KubeObject): {
  readonly uid: string;
  readonly qos: "" | "burstable" | "besteffort";
} {
  const { "kubernetes.io/config.mirror": mirror } = metadata.annotations ?? {};
  const uid = (metadata.namespace === "kube-system" ? mirror : undefined) ?? metadata.uid ?? "";
  const { qosClass } = (status ?? {}) as { readonly qosClass?: string };
  const qos = qosClass === "Burstable" ? "burstable" : qosClass === "BestEffort" ? "besteffort" : "";
  return { uid, qos };
}
