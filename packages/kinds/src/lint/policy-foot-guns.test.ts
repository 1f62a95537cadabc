import assert from "node:assert/strict";
import { test } from "node:test";
import { readAll } from "../testing/read-all.ts";
import { findFootGuns } from "./foot-guns.ts";
import { lintViewOf } from "./view-of-objects.ts";

const pods = ["web", "db", "cache", "mail"]
  .map(
    (name) => `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, namespace: shop, labels: {app: ${name}, of: shop}}`,
  )
  .join("\n---\n");
const agent =
  "apiVersion: v1\nkind: Pod\nmetadata: {name: agent, namespace: shop, labels: {app: agent}}\nspec: {hostNetwork: true}";
const node =
  "apiVersion: v1\nkind: Node\nmetadata: {name: edge-1, labels: {role: edge}}\nstatus: {addresses: [{type: InternalIP, address: 172.16.0.1}]}";

const ofKubeSystem = `apiVersion: v1
kind: Namespace
metadata: {name: kube-system}
---
apiVersion: v1
kind: Pod
metadata: {name: dns, namespace: kube-system, labels: {k8s-app: kube-dns}}
---
apiVersion: v1
kind: Pod
metadata: {name: dns, namespace: openshift-dns, labels: {dns.operator.openshift.io/daemonset-dns: default}}
---
apiVersion: v1
kind: Pod
metadata: {name: cache, namespace: dns, labels: {k8s-app: node-local-dns}}
---
apiVersion: v1
kind: Pod
metadata: {name: unbound, namespace: resolvers}`;

function guns(object: string, others: readonly string[] = [pods, agent, node]): readonly string[] {
  const { parsed, issues } = readAll([object, ...others].join("\n---\n"));
  assert.deepEqual(
    issues.filter(({ severity }) => severity === "error"),
    [],
  );
  const [first] = parsed;
  assert.ok(first !== undefined);
  return findFootGuns(first, lintViewOf(parsed));
}

function policy(spec: string): string {
  return `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec: ${spec}`;
}

test("findFootGuns names the pods that may reach something, and can ask for no name", () => {
  const toDb = "toEndpoints: [{matchLabels: {app: db}}]";
  const toAll = "toEntities: [cluster]";
  assert.deepEqual(guns(policy(`{endpointSelector: {matchLabels: {app: web}}, egress: [{${toAll}}]}`)), []);
  assert.deepEqual(guns(policy(`{endpointSelector: {matchLabels: {app: web}}, egress: [{${toDb}}]}`)), [
    "spec.egress: shop/web cannot ask for names: no rule allows UDP port 53, unless another policy does",
  ]);
  const onPort = `${toDb}, toPorts: [{ports: [{port: "5432", protocol: TCP}]}]`;
  assert.deepEqual(guns(policy(`{endpointSelector: {matchLabels: {of: shop}}, egress: [{${onPort}}]}`)), [
    "spec.egress: shop/cache, shop/db, shop/mail and 1 more cannot ask for names: no rule allows UDP port 53, unless another policy does",
  ]);
  const dns = 'toPorts: [{ports: [{port: "53", protocol: ANY}]}]';
  assert.deepEqual(guns(policy(`{endpointSelector: {matchLabels: {of: shop}}, egress: [{${onPort}}, {${dns}}]}`)), []);
  // Nothing at all is what is meant.
  assert.deepEqual(guns(policy("{endpointSelector: {matchLabels: {app: web}}, egress: [{}]}")), []);
});

test("findFootGuns knows servers of names by whom a rule means, whatever port they listen on", () => {
  const said = (rule: string, others: readonly string[] = [pods]): readonly string[] =>
    guns(policy(`{endpointSelector: {matchLabels: {app: web}}, egress: [${rule}]}`), others);
  const closed = "spec.egress: shop/web cannot ask for names: no rule allows UDP port 53, unless another policy does";
  const on = (port: string, protocol = "UDP"): string =>
    `toPorts: [{ports: [{port: "${port}", protocol: ${protocol}}]}]`;
  const to = (labels: string): string => `toEndpoints: [{matchLabels: {${labels}}}]`;
  const inside = (name: string): string => `"k8s:io.kubernetes.pod.namespace": ${name}`;
  const openshift = `toEndpoints: [{matchExpressions: [{key: dns.operator.openshift.io/daemonset-dns, operator: Exists}, {key: "k8s:io.kubernetes.pod.namespace", operator: Exists}]}]`;
  const fine = [
    `{${to(`${inside("kube-system")}, k8s-app: kube-dns`)}, ${on("5353")}}`,
    `{${to(inside("openshift-dns"))}, ${on("5353", "ANY")}}`,
    `{${to(`${inside("dns")}, k8s-app: node-local-dns`)}, ${on("1053")}}`,
    `{${openshift}, ${on("5353")}}`,
    `{${to(inside("resolvers"))}, ${on("53")}}`,
    `{toServices: [{k8sService: {serviceName: kube-dns, namespace: kube-system}}], ${on("5353")}}`,
  ];
  for (const rule of fine) assert.deepEqual(said(rule, [pods, ofKubeSystem]), [], rule);
  const closing = [
    `{${to(`${inside("kube-system")}, k8s-app: kube-dns`)}, ${on("5353", "TCP")}}`,
    `{${to(inside("resolvers"))}, ${on("5353")}}`,
    `{${to(inside("resolvers"))}}`,
    `{toEntities: [cluster], ${on("123")}}`,
  ];
  for (const rule of closing) assert.deepEqual(said(rule, [pods, ofKubeSystem]), [closed], rule);
  // Without a namespace its own is meant, where it makes a difference whether there is a resolver.
  assert.deepEqual(said(`{${to("app: db")}, ${on("53")}}`), []);
  assert.deepEqual(said(`{${to("k8s-app: kube-dns")}, ${on("53")}}`, [pods, ofKubeSystem]), [
    "spec.egress[0].toEndpoints[0]: selects no pod that is there now, and means namespace shop alone; kube-system/dns has these labels elsewhere",
    closed,
  ]);
  const ofKubernetes = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Egress]
  egress:
    - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}]
      ports: [{protocol: UDP, port: 5353}, {protocol: TCP, port: 5353}]`;
  assert.deepEqual(guns(ofKubernetes, [pods]), ["spec.egress[0].to[0]: selects no pod that is there now"]);
  assert.deepEqual(guns(ofKubernetes, [pods, ofKubeSystem]), []);
});

test("findFootGuns names the pods that a rule which denies closes for more than it says", () => {
  const spec = (rules: string): string => policy(`{endpointSelector: {matchLabels: {app: web}}, ${rules}}`);
  const fromDb = "{fromEndpoints: [{matchLabels: {app: db}}]}";
  assert.deepEqual(guns(spec(`ingressDeny: [${fromDb}]`)), [
    "spec.ingressDeny: closes ingress of shop/web for everybody, unless another policy allows; set enableDefaultDeny.ingress to false for the rest to pass",
  ]);
  assert.deepEqual(guns(spec(`ingressDeny: [${fromDb}], enableDefaultDeny: {ingress: false}`)), []);
  assert.deepEqual(guns(spec(`ingressDeny: [${fromDb}], ingress: [{fromEntities: [cluster]}]`)), []);
  assert.deepEqual(guns(spec(`ingressDeny: [{fromEntities: [all]}]`)), []);
  assert.deepEqual(guns(spec(`ingressDeny: [{fromEntities: [all]}], ingress: [${fromDb}]`)), [
    "spec.ingressDeny[0]: denies everything of shop/web, also what a rule allows: a deny always wins",
  ]);
});

test("findFootGuns knows ports by names that no pod has given to one", () => {
  const db =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: db-1, namespace: shop, labels: {app: db}}\nspec: {containers: [{name: c, ports: [{name: sql, containerPort: 5432}]}]}";
  const said = (selected: string, rules: string): readonly string[] =>
    guns(policy(`{endpointSelector: {matchLabels: {app: ${selected}}}, ${rules}}`), [pods, agent, db]);
  const port = (name: string, protocol: string): string =>
    `{toPorts: [{ports: [{port: ${name}, protocol: ${protocol}}]}]}`;
  const open = "enableDefaultDeny: {ingress: false, egress: false}";
  assert.deepEqual(said("db", `ingressDeny: [${port("sql", "TCP")}, ${port("sql", "ANY")}], ${open}`), []);
  assert.deepEqual(said("db", `ingressDeny: [${port("nope", "TCP")}], ${open}`), [
    "spec.ingressDeny[0].toPorts[0].ports[0]: no pod that is selected has a TCP port named nope now, so nothing is denied by it",
  ]);
  assert.deepEqual(said("web", `ingress: [${port("sql", "ANY")}]`), [
    "spec.ingress[0].toPorts[0].ports[0]: no pod that is selected has a port named sql now, so nothing passes by it",
  ]);
  assert.deepEqual(said("db", `ingress: [${port("sql", "UDP")}]`), [
    "spec.ingress[0].toPorts[0].ports[0]: no pod that is selected has a UDP port named sql now, so nothing passes by it",
  ]);
  const to = (app: string): string =>
    `{toEndpoints: [{matchLabels: {app: ${app}}}], toPorts: [{ports: [{port: sql, protocol: TCP}]}]}`;
  assert.deepEqual(said("web", `egress: [${to("db")}, ${port("sql", "TCP")}], ${open}`), []);
  assert.deepEqual(said("web", `egressDeny: [${to("mail")}], ${open}`), [
    "spec.egressDeny[0].toPorts[0].ports[0]: no pod that the rule is about has a TCP port named sql now, so nothing is denied by it",
  ]);
});

test("findFootGuns names pods on the network of their node, which no policy judges", () => {
  assert.deepEqual(guns(policy("{endpointSelector: {matchLabels: {app: agent}}, ingress: [{}]}")), [
    "spec.endpointSelector: shop/agent on the network of the node: no policy judges that",
  ]);
});

test("findFootGuns knows what objects say, and warns of nothing where they say nothing", () => {
  const nobody = policy("{endpointSelector: {matchLabels: {app: none}}, ingress: [{}]}");
  assert.deepEqual(guns(nobody), ["spec.endpointSelector: selects no pod that is there now"]);
  assert.deepEqual(guns(nobody, []), []);
  const program =
    "apiVersion: networking.fos1.io/v1alpha1\nkind: EBPFProgram\nmetadata: {name: p}\nspec: {type: xdp, interface: eth0, settings: {blacklist: {enabled: true, ips: [172.16.0.0/24]}}}";
  assert.deepEqual(guns(program), [
    "spec.settings.blacklist.ips[0]: 172.16.0.0/24 covers 172.16.0.1, node edge-1; it would be locked out",
  ]);
});

test("findFootGuns tells where a CIDR looks like nodes and means none of them", () => {
  const web = "endpointSelector: {matchLabels: {app: web}}";
  assert.deepEqual(guns(policy(`{${web}, ingress: [{fromCIDR: [172.16.0.0/24, 10.0.0.0/8, 0.0.0.0/0]}]}`)), [
    "spec.ingress[0].fromCIDR[0]: 172.16.0.0/24 does not mean 172.16.0.1, node edge-1: CIDRs never mean nodes or pods; fromEntities: [host, remote-node] does",
  ]);
  const dns = '{toPorts: [{ports: [{port: "53", protocol: ANY}]}]}';
  assert.deepEqual(guns(policy(`{${web}, egress: [${dns}], egressDeny: [{toCIDRSet: [{cidr: 172.16.0.1/32}]}]}`)), [
    "spec.egressDeny[0].toCIDRSet[0]: 172.16.0.1, node edge-1, is not meant: CIDRs never mean nodes or pods; toEntities: [host, remote-node] does",
  ]);
  const ofKubernetes = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{ipBlock: {cidr: 172.16.0.0/24}}]}]}`;
  assert.deepEqual(guns(ofKubernetes), []);
});

test("findFootGuns says nothing of nodes and pods that a CIDR leaves out, or another rule means", () => {
  const pod =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop, labels: {app: web}}\nstatus: {podIP: 10.1.0.2}";
  const said = (rules: string): readonly string[] =>
    guns(policy(`{endpointSelector: {matchLabels: {app: web}}, ${rules}}`), [pod, node]).map(
      (text) => text.split(":")[0] ?? "",
    );
  assert.deepEqual(said("ingress: [{fromCIDRSet: [{cidr: 172.16.0.0/12, except: [172.16.0.0/24]}]}]"), []);
  assert.deepEqual(said("ingress: [{fromCIDRSet: [{cidr: 172.16.0.0/12, except: [172.17.0.0/24]}]}]"), [
    "spec.ingress[0].fromCIDRSet[0]",
  ]);
  const [ofNodes, ofPods] = ["spec.ingress[0].fromCIDR[0]", "spec.ingress[0].fromCIDR[1]"];
  const both = "fromCIDR: [172.16.0.0/12, 10.0.0.0/8]";
  const http = 'toPorts: [{ports: [{port: "80", protocol: TCP}]}]';
  const ssh = 'toPorts: [{ports: [{port: "22", protocol: TCP}]}]';
  const inAny = 'fromEndpoints: [{matchExpressions: [{key: "k8s:io.kubernetes.pod.namespace", operator: Exists}]}]';
  const beside: readonly (readonly [rules: string, said: readonly string[]])[] = [
    [`{${both}}, {fromEntities: [cluster]}`, []],
    [`{${both}, fromEntities: [cluster]}`, []],
    [`{${both}}, {fromEntities: [all]}`, []],
    [`{${both}, ${http}}, {fromEntities: [cluster]}`, []],
    [`{${both}, ${http}}, {${http}}`, []],
    [`{${both}, ${http}}, {fromEntities: [cluster], ${ssh}}`, [ofNodes, ofPods]],
    [`{${both}}, {fromEntities: [cluster], ${http}}`, [ofNodes, ofPods]],
    [`{${both}}, {fromEntities: [host]}, {fromEntities: [remote-node]}`, [ofPods]],
    [`{${both}}, {fromEntities: [remote-node]}`, [ofNodes, ofPods]],
    [`{${both}}, {${inAny}}`, [ofNodes]],
    [`{${both}}], egress: [{toEntities: [cluster]}`, [ofNodes, ofPods]],
    [`{${both}}], ingressDeny: [{fromEntities: [cluster], ${ssh}}`, [ofNodes, ofPods]],
  ];
  for (const [rules, expected] of beside) assert.deepEqual(said(`ingress: [${rules}]`), expected, rules);
  const out = "{toCIDR: [172.16.0.0/12, 10.0.0.0/8]}";
  assert.deepEqual(said(`egress: [${out}, {toEntities: [cluster]}]`), []);
  assert.deepEqual(said(`egressDeny: [${out}, {toEntities: [cluster]}], egress: [{toEntities: [world]}]`), []);
  const specs = (selected: string): readonly string[] =>
    guns(
      policy("").replace(
        "spec: ",
        `specs: [{endpointSelector: {matchLabels: {app: web}}, ingress: [{${both}}]}, {endpointSelector: ${selected}, ingress: [{fromEntities: [cluster]}]}]`,
      ),
      [pod, node],
    );
  assert.deepEqual(specs("{}"), []);
  assert.deepEqual(specs("{matchLabels: {app: web}}"), []);
  assert.equal(specs("{matchExpressions: [{key: app, operator: NotIn, values: [web]}]}").length, 3);
});

test("findFootGuns takes what all statements of a policy say of a pod together", () => {
  const said = (first: string, second: string, selected = "{matchLabels: {app: web}}"): readonly string[] =>
    guns(
      policy("").replace(
        "spec: ",
        `specs: [{endpointSelector: {matchLabels: {app: web}}, ${first}}, {endpointSelector: ${selected}, ${second}}]`,
      ),
      [pods],
    );
  const toDb = "egress: [{toEndpoints: [{matchLabels: {app: db}}]}]";
  const dns = 'egress: [{toPorts: [{ports: [{port: "53", protocol: UDP}]}]}]';
  const ofShop = "{matchLabels: {of: shop}}";
  assert.deepEqual(said(toDb, dns), []);
  assert.deepEqual(said(toDb, dns, ofShop), []);
  assert.deepEqual(said(dns, toDb, ofShop), [
    "specs[1].egress: shop/cache, shop/db, shop/mail cannot ask for names: no rule allows UDP port 53, unless another policy does",
  ]);
  assert.deepEqual(said(toDb, dns, "{matchLabels: {app: db}}"), [
    "specs[0].egress: shop/web cannot ask for names: no rule allows UDP port 53, unless another policy does",
  ]);
  const [deny, allow] = [
    "ingressDeny: [{fromEndpoints: [{matchLabels: {app: db}}]}]",
    "ingress: [{fromEntities: [all]}]",
  ];
  assert.deepEqual(said(deny, allow), []);
  assert.deepEqual(said(deny, allow, ofShop), []);
  assert.deepEqual(said(allow, deny, ofShop), [
    "specs[1].ingressDeny: closes ingress of shop/cache, shop/db, shop/mail for everybody, unless another policy allows; set enableDefaultDeny.ingress to false for the rest to pass",
  ]);
  assert.equal(said(deny, deny).length, 2);
});
