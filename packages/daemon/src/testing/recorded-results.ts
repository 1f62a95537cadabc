/** What a plug-in answers to ADD, and the addresses that a pod has by it. */
export interface RecordedResult {
  readonly by: string;
  readonly result: object;
  readonly addresses: readonly string[];
}

const sandbox = "/var/run/netns/cni-0f1c1c5e-7a3b-6c41-8d11-3f2a9c4b7e10";
const inside = { name: "eth0", mac: "0a:58:0a:f4:01:06", sandbox };

/**
 * The shapes of results as plug-ins are known to give them: with and without the node's end, the pod's end, the index of
 * the interface, a version beside each address, routes and DNS.
 */
export const recordedResults: readonly RecordedResult[] = [
  {
    by: "bridge with host-local, CNI 0.3.1",
    result: {
      cniVersion: "0.3.1",
      interfaces: [
        { name: "cni0", mac: "0a:58:0a:f4:01:01" },
        { name: "veth7c5a44d1", mac: "ae:4b:be:d5:7e:88" },
        inside,
      ],
      ips: [{ version: "4", interface: 2, address: "10.244.1.6/24", gateway: "10.244.1.1" }],
      routes: [{ dst: "0.0.0.0/0" }],
      dns: {},
    },
    addresses: ["10.244.1.6/24"],
  },
  {
    by: "bridge with host-local, CNI 1.0.0, both families",
    result: {
      cniVersion: "1.0.0",
      interfaces: [
        { name: "cni0", mac: "0a:58:0a:f4:01:01" },
        { name: "veth7c5a44d1", mac: "ae:4b:be:d5:7e:88" },
        inside,
      ],
      ips: [
        { interface: 2, address: "10.244.1.6/24", gateway: "10.244.1.1" },
        { interface: 2, address: "fd00:10:244:1::6/64", gateway: "fd00:10:244:1::1" },
      ],
      routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
      dns: {},
    },
    addresses: ["10.244.1.6/24", "fd00:10:244:1::6/64"],
  },
  {
    by: "ptp with host-local",
    result: {
      cniVersion: "0.4.0",
      interfaces: [{ name: "vethc1763497", mac: "9e:0c:d9:b2:1a:77" }, inside],
      ips: [{ version: "4", interface: 1, address: "172.16.24.5/24", gateway: "172.16.24.1" }],
      routes: [{ dst: "0.0.0.0/0" }],
      dns: { nameservers: ["10.1.1.1", "8.8.8.8"] },
    },
    addresses: ["172.16.24.5/24"],
  },
  {
    by: "host-local alone, before it knew of versions",
    result: { ips: [{ version: "4", address: "10.1.2.13/24", gateway: "10.1.2.4" }], dns: {} },
    addresses: ["10.1.2.13/24"],
  },
  {
    by: "Calico: the node's end alone, nothing of the pod's",
    result: {
      cniVersion: "0.3.1",
      interfaces: [{ name: "cali05f4a1849c5" }],
      ips: [
        { version: "4", address: "10.244.196.152/32" },
        { version: "6", address: "fd10:244::c497/128" },
      ],
      dns: {},
    },
    addresses: ["10.244.196.152/32", "fd10:244::c497/128"],
  },
  {
    by: "Cilium: the pod's end alone",
    result: {
      cniVersion: "0.3.1",
      interfaces: [inside],
      ips: [{ version: "4", address: "10.0.0.71/32", gateway: "10.0.0.13" }],
      routes: [{ dst: "10.0.0.13/32" }, { dst: "0.0.0.0/0", gw: "10.0.0.13" }],
      dns: {},
    },
    addresses: ["10.0.0.71/32"],
  },
  {
    by: "Cilium, CNI 1.0.0: both ends, both families",
    result: {
      cniVersion: "1.0.0",
      interfaces: [
        { name: "lxc8f3c1d2e4a5b", mac: "5e:11:2f:4c:90:ab" },
        { ...inside, name: "eth0" },
      ],
      ips: [
        { interface: 1, address: "10.0.0.71/32", gateway: "10.0.0.13" },
        { interface: 1, address: "fd00::4c/128", gateway: "fd00::d" },
      ],
      routes: [
        { dst: "10.0.0.13/32", mtu: 1450 },
        { dst: "0.0.0.0/0", gw: "10.0.0.13", mtu: 1450 },
        { dst: "fd00::d/128" },
      ],
      dns: {},
    },
    addresses: ["10.0.0.71/32", "fd00::4c/128"],
  },
  { by: "one that gives no addresses", result: { cniVersion: "1.0.0", interfaces: [inside], dns: {} }, addresses: [] },
];
