import type { AnyObject } from "@bpfleet/kube";

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration";

/** Without what others write there all the time, and what nobody here reads. */
export function trimDeclared(object: AnyObject): AnyObject {
  const { status: _status, ...rest } = object;
  return { ...rest, metadata: trimMetadata(object.metadata) };
}

/** Of a pod: whose it is, how it is found, which cgroup it has, and what policies know it by. */
export function trimPod(object: AnyObject): AnyObject {
  const { spec = {}, status = {} } = object as PodFields;
  const { nodeName, hostNetwork, serviceAccountName, containers, initContainers } = spec;
  const { phase, qosClass, podIP, podIPs } = status;
  return {
    apiVersion: object.apiVersion,
    kind: object.kind,
    metadata: trimMetadata(object.metadata),
    spec: {
      nodeName,
      serviceAccountName,
      ...(hostNetwork === true && { hostNetwork }),
      containers: portsOf(containers),
      initContainers: portsOf(initContainers),
    },
    status: { phase, qosClass, podIP, podIPs },
  };
}

function portsOf(containers: readonly ContainerFields[] = []): readonly ContainerFields[] {
  return containers.flatMap(({ ports, restartPolicy }) => {
    const named = ports?.filter(({ name }) => name !== undefined) ?? [];
    return named.length === 0 ? [] : [{ ports: named, ...(restartPolicy !== undefined && { restartPolicy }) }];
  });
}

/** Of a namespace: its labels. */
export function trimNamespace({ apiVersion, kind, metadata }: AnyObject): AnyObject {
  const { name, uid, resourceVersion, labels } = metadata;
  return { apiVersion, kind, metadata: { name, uid, resourceVersion, ...(labels !== undefined && { labels }) } };
}

/** Of a slice: addresses and what they are; the names of pods are for people. */
export function trimSlice(object: AnyObject): AnyObject {
  const { name, uid, resourceVersion } = object.metadata;
  const { spec = {} } = object as SliceFields;
  const addresses = spec.addresses?.map(({ ip, set, node }) => ({ ip, set, node }));
  return {
    apiVersion: object.apiVersion,
    kind: object.kind,
    metadata: { name, uid, resourceVersion },
    spec: { ...spec, addresses },
  };
}

/** Of a Service: by what it is known, and what decides who gets which back end. */
export function trimService({ apiVersion, kind, metadata, ...rest }: AnyObject): AnyObject {
  const { spec = {}, status = {} } = rest as ServiceFields;
  const { name, namespace, uid, resourceVersion, labels } = metadata;
  const { loadBalancer } = status;
  return {
    apiVersion,
    kind,
    metadata: { name, namespace, uid, resourceVersion, ...(labels !== undefined && { labels }) },
    spec: {
      type: spec.type,
      clusterIPs: spec.clusterIPs,
      clusterIP: spec.clusterIP,
      externalIPs: spec.externalIPs,
      loadBalancerSourceRanges: spec.loadBalancerSourceRanges,
      sessionAffinity: spec.sessionAffinity,
      sessionAffinityConfig: spec.sessionAffinityConfig,
      internalTrafficPolicy: spec.internalTrafficPolicy,
      ports: spec.ports,
    },
    ...(loadBalancer !== undefined && { status: { loadBalancer } }),
  };
}

/** Of an EndpointSlice: the back ends, without the pods that they are. */
export function trimBackends({ apiVersion, kind, metadata, ...rest }: AnyObject): AnyObject {
  const { name, namespace, uid, resourceVersion, labels = {} } = metadata;
  const { addressType, endpoints = [], ports } = rest as BackendsFields;
  const { "kubernetes.io/service-name": service } = labels;
  return {
    apiVersion,
    kind,
    metadata: {
      name,
      namespace,
      uid,
      resourceVersion,
      ...(service !== undefined && { labels: { "kubernetes.io/service-name": service } }),
    },
    addressType,
    ports,
    endpoints: endpoints?.map(({ addresses, conditions, nodeName, hints }) => ({
      addresses,
      conditions,
      nodeName,
      hints,
    })),
  };
}

/** Of the node: its labels and addresses; heartbeats are no news. */
export function trimNode(object: AnyObject): AnyObject {
  const { status = {} } = object as NodeFields;
  const { annotations: _annotations, managedFields: _fields, ...metadata } = object.metadata;
  const { addresses } = status;
  return {
    apiVersion: object.apiVersion,
    kind: object.kind,
    metadata,
    ...(addresses !== undefined && { status: { addresses } }),
  };
}

function trimMetadata({
  managedFields: _fields,
  annotations,
  ...metadata
}: AnyObject["metadata"]): AnyObject["metadata"] {
  if (annotations?.[lastApplied] === undefined)
    return annotations === undefined ? metadata : { ...metadata, annotations };
  const { [lastApplied]: _applied, ...kept } = annotations;
  return { ...metadata, annotations: kept };
}

interface PodFields {
  readonly spec?: {
    readonly nodeName?: unknown;
    readonly hostNetwork?: unknown;
    readonly serviceAccountName?: unknown;
    readonly containers?: readonly ContainerFields[];
    readonly initContainers?: readonly ContainerFields[];
  };
  readonly status?: {
    readonly phase?: unknown;
    readonly qosClass?: unknown;
    readonly podIP?: unknown;
    readonly podIPs?: unknown;
  };
}

interface ServiceFields {
  readonly spec?: { readonly [name in ServiceField]?: unknown };
  readonly status?: { readonly loadBalancer?: unknown };
}

type ServiceField =
  | "type"
  | "clusterIPs"
  | "clusterIP"
  | "externalIPs"
  | "loadBalancerSourceRanges"
  | "sessionAffinity"
  | "sessionAffinityConfig"
  | "internalTrafficPolicy"
  | "ports";

interface BackendsFields {
  readonly addressType?: unknown;
  readonly ports?: unknown;
  readonly endpoints?:
    | readonly {
        readonly addresses?: unknown;
        readonly conditions?: unknown;
        readonly nodeName?: unknown;
        readonly hints?: unknown;
      }[]
    | null;
}

interface NodeFields {
  readonly status?: { readonly addresses?: unknown };
}

interface ContainerFields {
  readonly restartPolicy?: unknown;
  readonly ports?: readonly { readonly name?: unknown }[];
}

interface SliceFields {
  readonly spec?: {
    readonly addresses?: readonly { readonly ip?: unknown; readonly set?: unknown; readonly node?: unknown }[];
  };
}
