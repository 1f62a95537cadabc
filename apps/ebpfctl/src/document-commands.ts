/** A command of the documents that this project answers to, and what does its work on a node without a cluster. */
export interface DocumentCommand {
  readonly document: string;
  /** Words after `ebpfctl`. */
  readonly here?: readonly string[] | undefined;
  readonly note?: string | undefined;
}

export const documentCommands: readonly DocumentCommand[] = [
  {
    document: "kubectl apply -k manifests/base/ebpf",
    note: "nothing to do, the kinds are built in; in a cluster the command installs the same kinds",
  },
  { document: "kubectl get ebpfprograms", here: ["get", "ebpfprograms"] },
  { document: "kubectl get ebpfprograms -o wide", here: ["get", "ebpfprograms", "-o", "wide"] },
  {
    document: "kubectl describe ebpfprogram xdp-packet-filter",
    here: ["describe", "ebpfprogram", "xdp-packet-filter"],
  },
  { document: "kubectl describe ebpfprogram <name>", here: ["describe", "ebpfprogram", "xdp-packet-filter"] },
  {
    document: "kubectl logs -n kube-system -l app=fos1-ebpf-controller",
    note: "the output of `ebpfctl up`; what happened to one object stands in `ebpfctl describe`",
  },
  {
    document: "kubectl apply -f config/samples/",
    here: ["apply", "-f", "packages/kinds/src/bpfd.io/bpfprogramconfig/samples"],
  },
  { document: "kubectl bpfprogramconfigs", here: ["get", "bpfprogramconfigs"] },
  { document: "kubectl bpfprograms", here: ["get", "bpfprograms"] },
];
