import { join } from "node:path";
import type { Authority } from "./authority.ts";

/** For containerd 1.6 and later; those of version 2 translate it when they start. */
export function containerdConfig(folder: string): string {
  const cri = `plugins."io.containerd.grpc.v1.cri"`;
  return `version = 2
root = "${join(folder, "containerd")}"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "${join(folder, "containerd.sock")}"
[${cri}]
  sandbox_image = "localhost/pause:1"
  # Without CAP_SYS_RESOURCE a score cannot be lowered.
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  [${cri}.cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [${cri}.registry]
    config_path = "${join(folder, "registries")}"
  [${cri}.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [${cri}.containerd.runtimes.runc.options]
      SystemdCgroup = false
`;
}

export function kubeletConfig(name: string, address: string, folder: string, authority: Authority): string {
  const never = "0%";
  return JSON.stringify({
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    failCgroupV1: false,
    cgroupDriver: "cgroupfs",
    containerRuntimeEndpoint: `unix://${join(folder, "containerd.sock")}`,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: authority.path("ca.crt") },
    },
    authorization: { mode: "Webhook" },
    tlsCertFile: authority.path(`kubelet-${name}.crt`),
    tlsPrivateKeyFile: authority.path(`kubelet-${name}.key`),
    address,
    healthzBindAddress: "127.0.0.1",
    staticPodPath: join(folder, "manifests"),
    resolvConf: join(folder, "resolv.conf"),
    clusterDomain: "cluster.local",
    oomScoreAdj: 0,
    failSwapOn: false,
    // One disk that others fill too: nothing is evicted or collected for it.
    evictionHard: {
      "memory.available": never,
      "nodefs.available": never,
      "nodefs.inodesFree": never,
      "imagefs.available": never,
      "imagefs.inodesFree": never,
      "pid.available": never,
    },
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    localStorageCapacityIsolation: false,
    enableControllerAttachDetach: false,
    shutdownGracePeriod: "0s",
    nodeStatusUpdateFrequency: "3s",
    nodeStatusReportFrequency: "3s",
    nodeLeaseDurationSeconds: 10,
    syncFrequency: "5s",
    configMapAndSecretChangeDetectionStrategy: "Watch",
  });
}

export function kubeProxyConfig(kubeconfig: string, podRange: string): string {
  return JSON.stringify({
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    clientConnection: { kubeconfig },
    mode: "iptables",
    clusterCIDR: podRange,
    oomScoreAdj: 0,
    healthzBindAddress: "127.0.0.1:10256",
    metricsBindAddress: "127.0.0.1:10249",
    // Else it writes settings of the whole machine.
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
  });
}

export function podNetworkConfig(range: string): string {
  return JSON.stringify({
    cniVersion: "0.4.0",
    name: "pods",
    plugins: [
      {
        type: "bridge",
        bridge: "cni0",
        isGateway: true,
        hairpinMode: true,
        ipam: {
          type: "host-local",
          dataDir: "/run/cni-ipam",
          ranges: [[{ subnet: range }]],
          routes: [{ dst: "0.0.0.0/0" }],
        },
      },
    ],
  });
}
