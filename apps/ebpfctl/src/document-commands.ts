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
    note: "nothing to do, the kinds are built in; in a cluster the command makes it one of ours: kinds, roles, operator",
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
    document: "kubectl logs -f deployment/podconfigmap-controller",
    note: "in a cluster, with `-n kube-system`",
  },
  {
    document: "kubectl port-forward svc/podconfigmap-controller 8080:8080",
    note: "in a cluster, with `-n kube-system`: the operator's metrics; those of programs are the daemon's, `ebpfctl up --metrics-addr :9091` or port 9091 of each node",
  },
  {
    document: "kubectl get felixconfiguration default -o yaml",
    note: "`ebpfctl get felixconfiguration default -o yaml`; in a cluster as it is written, and `kubectl edit` too",
  },
  {
    document: "kubectl logs -n calico-system -l k8s-app=calico-node -c calico-node",
    note: "in a cluster `kubectl logs -n kube-system -l app=fos1-ebpf-controller`",
  },
  {
    document: 'kubectl debug node/… -it --image=busybox -- sh -c "bpftool prog list"',
    note: "`ebpfctl prog list`; in a cluster in a pod of the DaemonSet, as below: busybox has no bpftool",
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
    note: "`ebpfctl conntrack dump`: connections of pods that policies restrict; in a cluster `kubectl exec -n kube-system daemonset/bpfd-daemon -- calico-node -bpf-conntrack`",
  },
  {
    document: 'kubectl -n kube-system logs -l app=fos1-ebpf-controller | grep "Hardware acceleration"',
    note: "in a cluster, as it is written: it is not served yet, and each daemon says so at its start",
  },
  {
    document: "kubectl -n kube-system exec -it … -- ebpfctl hardware-status",
    note: "not served yet; `ebpfctl get ebpfprograms -o wide` tells whether a program runs in the driver",
  },
  {
    document: "kubectl -n kube-system exec -it … -- ebpfctl metrics hardware",
    note: "not served yet; `ebpfctl top` tells what programs cost",
  },
  {
    document: "make run-on-kind",
    note: "in a cluster; with BPFD_IMG, BPFD_AGENT_IMG, BPFD_OPERATOR_IMG images of those names; says so where kind is not installed, as `make kind-reload-images` does",
  },
  {
    document: "make build-images push-images BPFD_OPERATOR_IMG=… BPFD_AGENT_IMAGE=…",
    note: "as it is written, without a container engine; BPFD_AGENT_IMG is the same variable",
  },
  { document: "make deploy BPFD_OPERATOR_IMG=… BPFD_AGENT_IMAGE=…", note: "in a cluster, as it is written" },
  {
    document: "make undeploy",
    note: "`ebpfctl cleanup`; in a cluster every node detaches first, then operator and roles go",
  },
  {
    document: "make uninstall",
    note: "in a cluster: the CRDs, and all that was declared with them; what an operator left behind that is gone",
  },
  { document: "make manifests", note: "all generated files, CRDs among them; the same as `make generate`" },
];
