import type { SpecCase } from "./specs.ts";

/** Specs written to break each rule of the kinds that are served later, with the fields that are wrong. */

const out = { interface: "eth0", direction: "egress" };
const htb = { type: "htb", rate: "1Gbit" };

function filter(fields: object): Readonly<Record<string, unknown>> {
  return { ...out, filters: [fields] };
}

export const trafficControlSpecs: readonly SpecCase[] = [
  [out],
  [{ interface: "eth0" }, "spec.direction"],
  [{ direction: "both", interface: "eth0" }, "spec.direction"],
  [{ direction: "egress" }, "spec.interface"],
  [{ ...out, queueingDiscipline: htb }],
  [{ ...out, queueingDiscipline: { type: "cake" } }, "spec.queueingDiscipline.type"],
  [{ ...out, queueingDiscipline: { ...htb, rate: "1 Gbit" } }, "spec.queueingDiscipline.rate"],
  [{ ...out, queueingDiscipline: { ...htb, rate: "0Gbit" } }, "spec.queueingDiscipline.rate"],
  [{ ...out, queueingDiscipline: { ...htb, burst: "0kb" } }, "spec.queueingDiscipline.burst"],
  [{ ...out, queueingDiscipline: { ...htb, burst: "15Gbit" } }, "spec.queueingDiscipline.burst"],
  [{ ...out, queueingDiscipline: { type: "tbf" } }, "spec.queueingDiscipline.rate"],
  [{ ...out, queueingDiscipline: { type: "tbf", rate: "1Mbit", latency: "50ms", quantum: 1500 } }],
  [{ ...out, queueingDiscipline: { type: "tbf", rate: "1Mbit", latency: "50" } }, "spec.queueingDiscipline.latency"],
  [{ ...out, queueingDiscipline: { ...htb, quantum: 0 } }, "spec.queueingDiscipline.quantum"],
  [{ ...out, classes: [{ id: 1 }] }, "spec.classes"],
  [{ ...out, direction: "ingress", classes: [{ id: 1 }] }],
  [{ ...out, queueingDiscipline: { type: "sfq" }, classes: [{ id: 1 }] }, "spec.classes"],
  [{ ...out, queueingDiscipline: htb, classes: [{ id: 1 }, { id: 1 }] }, "spec.classes[1]"],
  [{ ...out, queueingDiscipline: htb, classes: [{ id: 0 }] }, "spec.classes[0].id"],
  [{ ...out, queueingDiscipline: htb, classes: [{ rate: "1Mbit" }] }, "spec.classes[0].id"],
  [{ ...out, queueingDiscipline: htb, classes: [{ id: 1, priority: 8 }] }, "spec.classes[0].priority"],
  [{ ...out, queueingDiscipline: htb, classes: [{ id: 1, rate: "0Mbit" }] }, "spec.classes[0].rate"],
  [{ ...out, queueingDiscipline: htb, classes: [{ id: 1, ceiling: "0Mbit" }] }, "spec.classes[0].ceiling"],
  [{ ...out, queueingDiscipline: htb, classes: [{ id: 1, burst: "0kb" }] }, "spec.classes[0].burst"],
  [{ ...out, queueingDiscipline: htb, classes: [{ id: 1 }], filters: [{ classID: 1 }] }],
  [{ ...out, queueingDiscipline: htb, classes: [{ id: 1 }], filters: [{ classID: 2 }] }, "spec.filters"],
  [filter({ classID: 1 }), "spec.filters"],
  [filter({ priority: 0 }), "spec.filters[0].priority"],
  [filter({ protocol: "sctp" }), "spec.filters[0].protocol"],
  [filter({ match: { srcIP: "10.0.0.0/8", dstIP: "::1", srcPort: 1, dstPort: "5060-5080", dscp: 46, mark: 1 } })],
  [filter({ match: { srcIP: "ten" } }), "spec.filters[0].match.srcIP"],
  [filter({ match: { dstIP: "ten" } }), "spec.filters[0].match.dstIP"],
  [filter({ match: { dstPort: 0 } }), "spec.filters[0].match.dstPort"],
  [filter({ match: { dstPort: "65536" } }), "spec.filters[0].match.dstPort"],
  [filter({ match: { dstPort: "http" } }), "spec.filters[0].match.dstPort"],
  [filter({ match: { dstPort: 1.5 } }), "spec.filters[0].match.dstPort"],
  [filter({ match: { dscp: 64 } }), "spec.filters[0].match.dscp"],
  [filter({ protocol: "icmp", match: { dstPort: 1 } }), "spec.filters"],
  [filter({ action: {} }), "spec.filters[0].action.type"],
  [filter({ action: { type: "pass" } })],
  [filter({ action: { type: "mark" } }), "spec.filters[0].action.mark"],
  [filter({ action: { type: "mark", mark: 46 } })],
  [filter({ action: { type: "police" } }), "spec.filters[0].action.police"],
  [filter({ action: { type: "police", police: {} } }), "spec.filters[0].action.police.rate"],
  [filter({ action: { type: "police", police: { rate: "0Mbit" } } }), "spec.filters[0].action.police.rate"],
  [
    filter({ action: { type: "police", police: { rate: "1Mbit", burst: "0kb" } } }),
    "spec.filters[0].action.police.burst",
  ],
  [
    filter({ action: { type: "police", police: { rate: "1Mbit", exceed: "shape" } } }),
    "spec.filters[0].action.police.exceed",
  ],
  [filter({ action: { type: "redirect" } }), "spec.filters[0].action.redirect"],
  [filter({ action: { type: "redirect", redirect: "eth 1" } }), "spec.filters[0].action.redirect"],
];

const web = { externalPort: 80, internalIP: "10.0.0.10", internalPort: 8080 };
const dnat = { type: "dnat", interface: "eth0", externalIP: "203.0.113.10" };

export const natPolicySpecs: readonly SpecCase[] = [
  [{ type: "masquerade", interface: "eth0" }],
  [{ type: "masquerade" }, "spec.interface"],
  [{ type: "nat66", interface: "eth0" }, "spec.type"],
  [{ type: "snat", interface: "eth0" }, "spec.externalIP"],
  [{ type: "dnat", interface: "eth0" }, "spec.externalIP", "spec.portMappings"],
  [{ ...dnat, portMappings: [] }, "spec.portMappings"],
  [{ ...dnat, portMappings: [web] }],
  [{ ...dnat, type: "full", portMappings: [web], sourceAddresses: ["10.0.0.0/8"] }],
  [{ ...dnat, type: "snat", portMappings: [web] }, "spec.portMappings"],
  [{ ...dnat, portMappings: [web, web] }, "spec.portMappings[1]"],
  [{ ...dnat, portMappings: [web, { ...web, protocol: "udp" }] }],
  [{ ...dnat, portMappings: [{ ...web, protocol: "TCP" }] }, "spec.portMappings[0].protocol"],
  [{ ...dnat, portMappings: [{ ...web, internalIP: "10.0.0.0/8" }] }, "spec.portMappings[0].internalIP"],
  [{ ...dnat, portMappings: [{ ...web, internalIP: "fd00::1" }] }, "spec.portMappings"],
  [{ ...dnat, portMappings: [{ ...web, internalPort: 65536 }] }, "spec.portMappings[0].internalPort"],
  [{ ...dnat, portMappings: [{ internalIP: "10.0.0.1", internalPort: 1 }] }, "spec.portMappings[0].externalPort"],
  [{ ...dnat, externalIP: "203.0.113.0/24", portMappings: [web] }, "spec.externalIP"],
  [{ ...dnat, type: "snat", sourceAddresses: ["10.0.0.0/8", "fd00::/8"] }, "spec.sourceAddresses"],
  [{ ...dnat, type: "snat", sourceAddresses: ["10.0.0"] }, "spec.sourceAddresses[0]"],
  [{ type: "masquerade", interface: "eth0", priority: -1 }, "spec.priority"],
];

const selector = { podSelector: { matchLabels: { app: "db" } } };
const unfinished = { matchExpressions: [{ key: "a", operator: "In" }] };

function inbound(rule: object): Readonly<Record<string, unknown>> {
  return { selector, networkControls: { ingressRules: [rule] } };
}

function egress(rule: object): Readonly<Record<string, unknown>> {
  return { selector, networkControls: { enableEgressControl: true, egressRules: [rule] } };
}

export const containerPolicySpecs: readonly SpecCase[] = [
  [{ selector }],
  [{}, "spec.selector"],
  [{ selector: {} }, "spec.selector.podSelector"],
  [{ selector: { namespaceSelector: {} } }],
  [{ selector: { podSelector: unfinished } }, "spec.selector.podSelector.matchExpressions[0].values"],
  [{ selector: { namespaceSelector: unfinished } }, "spec.selector.namespaceSelector.matchExpressions[0].values"],
  [
    { selector, resourceLimits: { bandwidthLimits: { egressBitsPerSecond: 0 } } },
    "spec.resourceLimits.bandwidthLimits.egressBitsPerSecond",
  ],
  [
    { selector, resourceLimits: { connectionLimits: { maxConnections: 0 } } },
    "spec.resourceLimits.connectionLimits.maxConnections",
  ],
  [{ selector, networkControls: { defaultEgressAction: "block" } }, "spec.networkControls.defaultEgressAction"],
  [
    egress({
      ports: [{ protocol: "UDP", port: 50, endPort: 60 }],
      ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] },
    }),
  ],
  [egress({ ports: [{ protocol: "SCTP" }] }), "spec.networkControls.egressRules[0].ports[0].protocol"],
  [egress({ ports: [{ endPort: 60 }] }), "spec.networkControls.egressRules[0].ports[0].endPort"],
  [egress({ ports: [{ port: 60, endPort: 50 }] }), "spec.networkControls.egressRules[0].ports[0].endPort"],
  [egress({ ports: [{ port: 0 }] }), "spec.networkControls.egressRules[0].ports[0].port"],
  [egress({ ipBlock: {} }), "spec.networkControls.egressRules[0].ipBlock.cidr"],
  [egress({ ipBlock: { cidr: "10" } }), "spec.networkControls.egressRules[0].ipBlock.cidr"],
  [
    egress({ ipBlock: { cidr: "10.0.0.0/8", except: ["10"] } }),
    "spec.networkControls.egressRules[0].ipBlock.except[0]",
  ],
  [egress({ action: "mark" }), "spec.networkControls.egressRules[0].action"],
  [inbound({ ports: [{ endPort: 60 }] }), "spec.networkControls.ingressRules[0].ports[0].endPort"],
  [inbound({ ports: [{ port: 60, endPort: 50 }] }), "spec.networkControls.ingressRules[0].ports[0].endPort"],
  [inbound({ ipBlock: { cidr: "10" } }), "spec.networkControls.ingressRules[0].ipBlock.cidr"],
  [
    inbound({ ipBlock: { cidr: "10.0.0.0/8", except: ["10"] } }),
    "spec.networkControls.ingressRules[0].ipBlock.except[0]",
  ],
  [{ selector, deviceControl: { allowedDevices: [{ deviceType: "char", major: 1, minor: 3 }] } }],
  [
    { selector, deviceControl: { allowedDevices: [{ deviceType: "char", minor: 3 }] } },
    "spec.deviceControl.allowedDevices[0].minor",
  ],
  [{ selector, deviceControl: { allowedDevices: [{ major: 3 }] } }, "spec.deviceControl.allowedDevices[0].deviceType"],
  [{ selector, deviceControl: { defaultDeviceAction: "log" } }, "spec.deviceControl.defaultDeviceAction"],
];

function ingress(rule: object): Readonly<Record<string, unknown>> {
  return { policyType: "filtering", ingress: [rule] };
}

function outward(rule: object): Readonly<Record<string, unknown>> {
  return { policyType: "filtering", egress: [rule] };
}

function selecting(selector: object): Readonly<Record<string, unknown>> {
  return { policyType: "filtering", selector };
}

export const networkPolicySpecs: readonly SpecCase[] = [
  [{ policyType: "filtering" }],
  [{}, "spec.policyType"],
  [{ policyType: "shaping" }, "spec.policyType"],
  [{ policyType: "nat" }, "spec.nat"],
  [{ policyType: "qos", nat: { type: "masquerade" } }, "spec.nat"],
  [{ policyType: "nat", nat: { type: "masquerade" } }],
  [{ policyType: "nat", nat: { type: "dnat" } }, "spec.nat.externalIP", "spec.nat.portMappings"],
  [{ policyType: "nat", nat: { type: "snat", externalIP: "203.0.113.10" } }],
  [{ policyType: "filtering", selector: { nodeSelector: {} } }],
  [{ policyType: "filtering", selector: { nodeSelector: {}, podSelector: {} } }, "spec.selector.nodeSelector"],
  [ingress({ from: [{ ipBlock: { cidr: "10.0.0.0/8" } }, { podSelector: {}, namespaceSelector: {} }] })],
  [ingress({ from: [{}] }), "spec.ingress[0].from[0]"],
  [ingress({ from: [{ podSelector: {}, ipBlock: { cidr: "10.0.0.0/8" } }] }), "spec.ingress[0].from[0].ipBlock"],
  [ingress({ action: "mark" }), "spec.ingress[0].mark"],
  [ingress({ action: "mark", mark: 46 })],
  [ingress({ mark: 64 }), "spec.ingress[0].mark"],
  [ingress({ ports: [{ protocol: "ICMP" }] })],
  [ingress({ ports: [{ protocol: "ICMP", port: 8 }] }), "spec.ingress[0].ports[0].port"],
  [ingress({ ports: [{ port: 9, endPort: 8 }] }), "spec.ingress[0].ports[0].endPort"],
  [ingress({ ports: [{ endPort: 8 }] }), "spec.ingress[0].ports[0].endPort"],
  [ingress({ from: [{ ipBlock: { cidr: "10" } }] }), "spec.ingress[0].from[0].ipBlock.cidr"],
  [
    ingress({ from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["10"] } }] }),
    "spec.ingress[0].from[0].ipBlock.except[0]",
  ],
  [ingress({ from: [{ podSelector: unfinished }] }), "spec.ingress[0].from[0].podSelector.matchExpressions[0].values"],
  [
    ingress({ from: [{ namespaceSelector: unfinished }] }),
    "spec.ingress[0].from[0].namespaceSelector.matchExpressions[0].values",
  ],
  [outward({ to: [{}] }), "spec.egress[0].to[0]"],
  [outward({ to: [{ podSelector: {}, ipBlock: { cidr: "10.0.0.0/8" } }] }), "spec.egress[0].to[0].ipBlock"],
  [outward({ to: [{ ipBlock: { cidr: "10" } }] }), "spec.egress[0].to[0].ipBlock.cidr"],
  [outward({ to: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["10"] } }] }), "spec.egress[0].to[0].ipBlock.except[0]"],
  [outward({ to: [{ podSelector: unfinished }] }), "spec.egress[0].to[0].podSelector.matchExpressions[0].values"],
  [
    outward({ to: [{ namespaceSelector: unfinished }] }),
    "spec.egress[0].to[0].namespaceSelector.matchExpressions[0].values",
  ],
  [outward({ action: "mark" }), "spec.egress[0].mark"],
  [outward({ ports: [{ protocol: "ICMP", port: 8 }] }), "spec.egress[0].ports[0].port"],
  [outward({ ports: [{ port: 9, endPort: 8 }] }), "spec.egress[0].ports[0].endPort"],
  [outward({ ports: [{ endPort: 8 }] }), "spec.egress[0].ports[0].endPort"],
  [selecting({ podSelector: unfinished }), "spec.selector.podSelector.matchExpressions[0].values"],
  [selecting({ namespaceSelector: unfinished }), "spec.selector.namespaceSelector.matchExpressions[0].values"],
  [selecting({ nodeSelector: unfinished }), "spec.selector.nodeSelector.matchExpressions[0].values"],
  [
    {
      policyType: "nat",
      nat: { type: "dnat", externalIP: "x", portMappings: [{ externalPort: 80, internalIP: "y", internalPort: 80 }] },
    },
    "spec.nat.externalIP",
    "spec.nat.portMappings[0].internalIP",
  ],
  [ingress({ rateLimit: { burstSize: 1 } }), "spec.ingress[0].rateLimit.bitsPerSecond"],
];

function firewall(fields: object): Readonly<Record<string, unknown>> {
  return { ebpfConfig: { l4Firewall: { enabled: true, defaultAction: "allow", ...fields } } };
}

export const podConfigSpecs: readonly SpecCase[] = [
  [{}],
  [firewall({})],
  [{ ebpfConfig: { l4Firewall: { enabled: true } } }, "spec.ebpfConfig.l4Firewall.defaultAction"],
  [firewall({ defaultAction: "deny" }), "spec.ebpfConfig.l4Firewall.defaultAction"],
  [firewall({ allowedPorts: [80, 443], blockedPorts: [22] })],
  [firewall({ allowedPorts: [0] }), "spec.ebpfConfig.l4Firewall.allowedPorts[0]"],
  [firewall({ blockedPorts: [22, 22] }), "spec.ebpfConfig.l4Firewall.blockedPorts[1]"],
  [{ ebpfConfig: { l4Firewall: { defaultAction: "allow" } } }, "spec.ebpfConfig.l4Firewall.enabled"],
  [{ ebpfConfig: { syscallMonitoring: { enabled: true, syscallNames: ["read", "openat2"] } } }],
  [
    { ebpfConfig: { syscallMonitoring: { enabled: true, syscallNames: ["Read"] } } },
    "spec.ebpfConfig.syscallMonitoring.syscallNames[0]",
  ],
  [{ ebpfConfig: { metricsExport: { enabled: true, updateInterval: "1m30s" } } }],
  [
    { ebpfConfig: { metricsExport: { enabled: true, updateInterval: "often" } } },
    "spec.ebpfConfig.metricsExport.updateInterval",
  ],
  [
    { ebpfConfig: { metricsExport: { enabled: true, updateInterval: "999ms" } } },
    "spec.ebpfConfig.metricsExport.updateInterval",
  ],
  [{ labelsToInclude: ["app", "app"] }, "spec.labelsToInclude[1]"],
  [
    { podSelector: { matchExpressions: [{ key: "a", operator: "Exists", values: ["b"] }] } },
    "spec.podSelector.matchExpressions[0].values",
  ],
];

export const felixSpecs: readonly SpecCase[] = [
  [{}],
  [{ bpfEnabled: true, bpfKubeProxyIptablesCleanupEnabled: false, somethingOfCalico: { deep: [1] } }],
  [{ bpfEnabled: "true" }, "spec.bpfEnabled"],
  [{ bpfExternalServiceMode: "dsr" }],
  [{ bpfExternalServiceMode: "direct" }, "spec.bpfExternalServiceMode"],
  [{ bpfConnectTimeLoadBalancing: "tcp" }, "spec.bpfConnectTimeLoadBalancing"],
  [{ bpfMapSizeConntrack: 0 }, "spec.bpfMapSizeConntrack"],
  [{ bpfPSNATPorts: "20000:29999" }],
  [{ bpfPSNATPorts: 20000 }],
  [{ bpfPSNATPorts: "20000-29999" }, "spec.bpfPSNATPorts"],
  [{ bpfDSROptoutCIDRs: ["10.0.0.0/8", "x"] }, "spec.bpfDSROptoutCIDRs[1]"],
  [{ bpfExcludeCIDRsFromNAT: ["10.0.0.0/8", "x"] }, "spec.bpfExcludeCIDRsFromNAT[1]"],
  [{ bpfConntrackTimeouts: { udpTimeout: "60s", tcpFinsSeen: "Auto" } }],
  [{ bpfConntrackTimeouts: { udpTimeout: "60" } }, "spec.bpfConntrackTimeouts.udpTimeout"],
  [{ xdpRefreshInterval: "90" }, "spec.xdpRefreshInterval"],
  [{ bpfLogFilters: { all: "tcp" } }],
  [{ bpfLogFilters: { all: 1 } }, "spec.bpfLogFilters.all"],
];

const tables = { nodes: ["w"], labelSets: [{ labels: { a: "b" } }] };
const address = { ip: "10.0.0.1", set: 0, node: 0 };

export const sliceSpecs: readonly SpecCase[] = [
  [{ of: "Node", ...tables, addresses: [address] }],
  [{ of: "Pod", namespace: "a", ...tables, addresses: [{ ...address, name: "p" }] }],
  [{ of: "Pod", ...tables, addresses: [address] }, "spec.namespace"],
  [{ of: "Node", namespace: "a", ...tables, addresses: [address] }, "spec.namespace"],
  [{ of: "Service", ...tables, addresses: [] }, "spec.of"],
  [{ of: "Node", nodes: [], labelSets: [] }, "spec.addresses"],
  [{ of: "Node", ...tables, addresses: [{ ...address, set: 1 }] }, "spec.addresses"],
  [{ of: "Node", ...tables, addresses: [{ ...address, node: 1 }] }, "spec.addresses"],
  [{ of: "Node", ...tables, addresses: [{ ...address, ip: "10.0.0.0/8" }] }, "spec.addresses[0].ip"],
  [{ of: "Node", ...tables, addresses: [{ ip: "10.0.0.1" }] }, "spec.addresses[0].node", "spec.addresses[0].set"],
];

/** What is made, then what it is changed to, which breaks a rule about changes. */
export const sliceChanges: readonly (readonly [before: SpecCase[0], after: SpecCase[0]])[] = [
  [
    { of: "Pod", namespace: "a", ...tables, addresses: [] },
    { of: "Pod", namespace: "b", ...tables, addresses: [] },
  ],
  [
    { of: "Pod", namespace: "a", ...tables, addresses: [] },
    { of: "Node", ...tables, addresses: [] },
  ],
];
