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
  { document: "kubectl apply -f config/samples/", here: ["apply", "-f", "config/samples"] },
  {
    document: "kubectl get ebpfnetworkpolicy --all-namespaces",
    here: ["get", "ebpfnetworkpolicy", "--all-namespaces"],
  },
  { document: "kubectl bpfprogramconfigs", here: ["get", "bpfprogramconfigs"] },
  { document: "kubectl bpfprograms", here: ["get", "bpfprograms"] },
  {
    document: "kubectl exec -it <controller-pod> -- ls /sys/fs/bpf/",
    note: "`ls /sys/fs/bpf/`; in a cluster in a pod of the DaemonSet, whose image has `ls`",
  },
  {
    document: "kubectl exec … daemonset/calico-node -- bpftool prog list",
    note: "`ebpfctl prog list`; in a cluster `kubectl exec -n kube-system daemonset/bpfd-daemon -- bpftool prog list`",
  },
  {
    document: "kubectl exec … daemonset/calico-node -- calico-node -bpf-maps",
    note: "`ebpfctl map list`; in a cluster `kubectl exec -n kube-system daemonset/bpfd-daemon -- calico-node -bpf-maps`",
  },
  {
    document: "kubectl exec … daemonset/calico-node -- wget -O - localhost:9091/metrics",
    note: "`ebpfctl up --metrics-addr :9091` serves them; in a cluster `kubectl exec -n kube-system daemonset/bpfd-daemon -- wget -O - localhost:9091/metrics`",
  },
  {
    document: "kubectl exec … deployment/calico-kube-controllers -- calico-kube-controllers status",
    note: "in a cluster `kubectl exec -n kube-system deployment/podconfigmap-controller -- calico-kube-controllers status`",
  },
  {
    document: "kubectl exec … daemonset/calico-node -- calico-node -bpf-conntrack",
    note: "not served yet: nothing here tracks connections for Services",
  },
  {
    document: "kubectl -n kube-system exec -it … -- ebpfctl hardware-status",
    note: "not served yet; `ebpfctl get ebpfprograms -o wide` tells whether a program runs in the driver",
  },
  {
    document: "kubectl -n kube-system exec -it … -- ebpfctl metrics hardware",
    note: "not served yet; `ebpfctl top` tells what programs cost",
  },
];
