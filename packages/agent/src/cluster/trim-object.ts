import type { AnyObject } from "@bpfleet/kube";

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration";

/** Without what others write there all the time, and what nobody here reads. */
export function trimDeclared(object: AnyObject): AnyObject {
  const { status: _status, ...rest } = object;
  return { ...rest, metadata: trimMetadata(object.metadata) };
}

/** Of a pod: whose it is, how it is found, and which cgroup it has. */
export function trimPod(object: AnyObject): AnyObject {
  const { spec = {}, status = {} } = object as PodFields;
  const { nodeName, hostNetwork } = spec;
  const { phase, qosClass, podIP, podIPs } = status;
  return {
    apiVersion: object.apiVersion,
    kind: object.kind,
    metadata: trimMetadata(object.metadata),
    spec: { nodeName, ...(hostNetwork === true && { hostNetwork }) },
    status: { phase, qosClass, podIP, podIPs },
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
  readonly spec?: { readonly nodeName?: unknown; readonly hostNetwork?: unknown };
  readonly status?: {
    readonly phase?: unknown;
    readonly qosClass?: unknown;
    readonly podIP?: unknown;
    readonly podIPs?: unknown;
  };
}

interface NodeFields {
  readonly status?: { readonly addresses?: unknown };
}
