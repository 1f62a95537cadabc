import { readFileSync } from "node:fs";
import { join } from "node:path";
import { kinds, renderYaml } from "@bpfleet/kinds";
import {
  baseManifests,
  builtImages,
  lockName,
  logLevels,
  oldestKubernetes,
  ownGroups,
} from "@bpfleet/operator/desired";

const folder = "manifests/helm/bpfleet";
const header = "# Made by tools/generate-chart.ts from packages/operator/src/desired. Do not edit.\n";

/** Stand for what values decide; words that are nowhere else. */
const slots = {
  operatorImage: "slot-operator-image",
  daemonImage: "slot-daemon-image",
  agentImage: "slot-agent-image",
};

/** The Helm chart: the same objects as of `kubectl apply -k manifests/base/ebpf`, with values for what people change. */
export function generateChart(root: string): ReadonlyMap<string, string> {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  const files = new Map<string, string>();
  files.set(
    `${folder}/Chart.yaml`,
    header +
      renderYaml({
        apiVersion: "v2",
        name: "bpfleet",
        description: "Networking, security and observability with eBPF, declared as Kubernetes resources",
        type: "application",
        version,
        appVersion: version,
        kubeVersion: `>=${oldestKubernetes}.0-0`,
      }),
  );
  files.set(`${folder}/values.yaml`, header + values);
  files.set(`${folder}/values.schema.json`, `${JSON.stringify(valuesSchema, null, 2)}\n`);
  for (const [name, objects] of Object.entries(baseManifests(kinds, slots)))
    files.set(
      `${folder}/templates/generated/${name}`,
      header + fill(objects.map((object) => renderYaml(object)).join("---\n"), name),
    );
  for (const kind of kinds) {
    const crd = kind.crd();
    if (crd === undefined || !ownGroups.includes(kind.group)) continue;
    const text = literal(renderYaml(crd)).replace(
      /^metadata:\n( {2}annotations:\n)?/m,
      (_, has: string | undefined) => `metadata:\n${has ?? ""}${keepAnnotation(has === undefined)}`,
    );
    files.set(
      `${folder}/templates/generated/crd-${kind.plural}.${kind.group}.yaml`,
      `${header}{{- if .Values.crds.install }}\n${text}{{- end }}\n`,
    );
  }
  return files;
}

const values = `images:
  # The operator, the daemon and the agent on every node.
  operator: ${builtImages.operatorImage}
  daemon: ${builtImages.daemonImage}
  agent: ${builtImages.agentImage}
  # Always, IfNotPresent or Never.
  pullPolicy: IfNotPresent
  # Names of Secrets in kube-system.
  pullSecrets: []
# Of the operator; one of them acts, the others wait for its end.
replicas: 2
leaderElection:
  # Name of the Lease of kube-system by which one operator leads; its role allows this one only.
  lockName: podconfigmap-controller-lock
# Of daemon and agent: trace, debug, info, warn, error, silent.
logLevel: info
# Where daemon and agent run, and with what, each as a pod has it; what is empty is left as it is without.
nodes:
  # Any taint; none at all is config bpfleet.tolerations: "[]".
  tolerations: []
  nodeSelector: {}
  daemonResources: {}
  agentResources: {}
# Of the node; 127.0.0.1 closes the daemon's metrics to other machines.
metricsAddress: ""
# Further keys of the ConfigMap bpfd-config, bpfleet.enforce.cilium and bpfd.toml among them.
config: {}
resources:
  requests:
    cpu: 100m
    memory: 64Mi
  limits:
    cpu: 200m
    memory: 128Mi
crds:
  install: true
  # Keep them, and with them all that was declared, when the chart is uninstalled.
  keep: true
`;

const text = { type: "string" };
const map = { type: "object" };
const flag = { type: "boolean" };
const image = { ...text, pattern: String.raw`^[\][A-Za-z0-9._/:@-]+$` };
const leaseName = { ...text, pattern: "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", maxLength: 253 };
/** Keys of the ConfigMap that are always there, by a value of their own. */
const ownKeys = ["bpfd.image", "bpfd.agent.image", "bpfd.log.level", "bpfleet.image-pull-policy"];

/** Values that are written wrongly are refused by helm, and do not go without effect. */
const valuesSchema = {
  $schema: "http://json-schema.org/draft-07/schema#",
  ...fields({
    global: map,
    images: fields({
      operator: image,
      daemon: image,
      agent: image,
      pullPolicy: { enum: ["Always", "IfNotPresent", "Never"] },
      pullSecrets: { type: "array", items: text },
    }),
    replicas: { type: "integer", minimum: 1 },
    leaderElection: fields({ lockName: leaseName }),
    logLevel: { enum: logLevels },
    nodes: fields({
      tolerations: { type: "array", items: map },
      nodeSelector: map,
      daemonResources: map,
      agentResources: map,
    }),
    metricsAddress: text,
    config: { ...map, propertyNames: { not: { enum: ownKeys } } },
    resources: map,
    crds: fields({ install: flag, keep: flag }),
  }),
};

function fields(properties: Readonly<Record<string, object>>): object {
  return { type: "object", properties, additionalProperties: false };
}

function keepAnnotation(isFirst: boolean): string {
  const line = "    helm.sh/resource-policy: keep\n";
  return `{{- if .Values.crds.keep }}\n${isFirst ? "  annotations:\n" : ""}${line}{{- end }}\n`;
}

/** Puts the values into the rendered objects; each place must be there. */
function fill(text: string, name: string): string {
  let filled = literal(text);
  const put = (place: RegExp | string, by: string): void => {
    const next = filled.replace(place, by);
    if (next === filled) throw new TypeError(`generate the chart: ${name} has no ${place}`);
    filled = next;
  };
  if (name === "operator.yaml") {
    put("image: slot-operator-image", "image: {{ .Values.images.operator | quote }}");
    put("value: slot-daemon-image", "value: {{ .Values.images.daemon | quote }}");
    put("value: slot-agent-image", "value: {{ .Values.images.agent | quote }}");
    put("imagePullPolicy: IfNotPresent", "imagePullPolicy: {{ .Values.images.pullPolicy }}");
    put("replicas: 2", "replicas: {{ .Values.replicas }}");
    put(`value: ${lockName}`, "value: {{ .Values.leaderElection.lockName | quote }}");
    put(/^( +)resources:\n(?:\1 .*\n)+/m, "$1resources: {{- toYaml .Values.resources | nindent 10 }}\n");
    put(
      /^( +)priorityClassName: /m,
      "$1{{- with .Values.images.pullSecrets }}\n$1imagePullSecrets:\n$1{{- range . }}\n$1- name: {{ . }}\n$1{{- end }}\n$1{{- end }}\n$&",
    );
  }
  if (name === "roles.yaml") put(`- ${lockName}`, "- {{ .Values.leaderElection.lockName | quote }}");
  if (name === "config.yaml") {
    put("bpfd.image: slot-daemon-image", "bpfd.image: {{ .Values.images.daemon | quote }}");
    put("bpfd.agent.image: slot-agent-image", "bpfd.agent.image: {{ .Values.images.agent | quote }}");
    put("bpfd.log.level: info", "bpfd.log.level: {{ .Values.logLevel | toString | quote }}");
    put(
      "  bpfleet.image-pull-policy: IfNotPresent\n",
      `  bpfleet.image-pull-policy: {{ .Values.images.pullPolicy }}
{{- with .Values.images.pullSecrets }}
  bpfleet.image-pull-secrets: {{ join "," . | quote }}
{{- end }}
{{- with .Values.nodes.tolerations }}
  bpfleet.tolerations: {{ toJson . | quote }}
{{- end }}
{{- with .Values.nodes.nodeSelector }}
  bpfleet.node-selector: {{ toJson . | quote }}
{{- end }}
{{- with .Values.nodes.daemonResources }}
  bpfleet.daemon-resources: {{ toJson . | quote }}
{{- end }}
{{- with .Values.nodes.agentResources }}
  bpfleet.agent-resources: {{ toJson . | quote }}
{{- end }}
{{- with .Values.metricsAddress }}
  bpfleet.metrics-address: {{ quote . }}
{{- end }}
{{- range $key, $value := .Values.config }}
  {{ $key }}: {{ $value | toString | quote }}
{{- end }}
`,
    );
  }
  return filled;
}

/** Braces that are meant as they stand. */
function literal(text: string): string {
  return text.replaceAll("{{", '{{ "{{" }}');
}
