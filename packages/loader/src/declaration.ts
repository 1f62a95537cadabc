import type { ObjectRef } from "@bpfleet/base";
import type { KubeObject } from "@bpfleet/kinds";
import { layouts, type Layout } from "./layout.ts";
import type { LoadWish } from "./load-wish.ts";

/** Who asked: a client by its certificate's name, or whoever may open the unix socket. */
export interface Caller {
  /** `CN=NAME` or `unix` */
  readonly name: string;
  readonly isAdministrator: boolean;
}

const loadedByAnnotation = "bpfleet.io/loaded-by";
const layoutAnnotation = "bpfleet.io/loader-layout";
const apiVersion = "bpfd.io/v1alpha1";
const secretNamespace = "bpfd";
const namePrefix = "loader-";
const staticPrefix = "static-";
/** In the place of a client's name. */
const loadedByFile = "programs.d";

export function configRef(id: string): ObjectRef {
  return { group: "bpfd.io", kind: "BpfProgramConfig", namespace: "", name: `${namePrefix}${id}` };
}

export function secretRef(id: string): ObjectRef {
  return { group: "", kind: "Secret", namespace: secretNamespace, name: `${namePrefix}${id}` };
}

/** The name that a Load gave its declaration; `undefined` for what others declared. */
export function loadIdOf({ metadata }: KubeObject): string | undefined {
  if (metadata.annotations?.[loadedByAnnotation] === undefined || !metadata.name.startsWith(namePrefix))
    return undefined;
  return metadata.name.slice(namePrefix.length);
}

export function loadedBy({ metadata }: KubeObject): string | undefined {
  return metadata.annotations?.[loadedByAnnotation];
}

export function layoutOf({ metadata }: KubeObject): Layout | undefined {
  return layouts.find((layout) => layout === metadata.annotations?.[layoutAnnotation]);
}

export function staticRef(name: string): ObjectRef {
  return { group: "bpfd.io", kind: "BpfProgramConfig", namespace: "", name: `${staticPrefix}${name}` };
}

/** Whether a file of programs.d declared it. */
export function isStatic(object: KubeObject): boolean {
  return object.metadata.name.startsWith(staticPrefix) && loadedBy(object) === loadedByFile;
}

/** What is stored for a program of programs.d. */
export function declareStatic(name: string, wish: LoadWish): KubeObject {
  const metadata = { name: staticRef(name).name, annotations: { [loadedByAnnotation]: loadedByFile } };
  return { apiVersion, kind: "BpfProgramConfig", metadata, spec: specOf(wish, undefined) };
}

/** What is stored for a Load: the config as anybody would have written it, and the Secret that its image needs. */
export function declare(
  id: string,
  wish: LoadWish,
  layout: Layout,
  caller: Caller,
): { readonly config: KubeObject; readonly secret: KubeObject | undefined } {
  const secret = secretFor(id, wish);
  const config: KubeObject = {
    apiVersion,
    kind: "BpfProgramConfig",
    metadata: {
      name: configRef(id).name,
      annotations: { [loadedByAnnotation]: caller.name, [layoutAnnotation]: layout },
    },
    spec: specOf(wish, secret),
  };
  return { config, secret };
}

function specOf(wish: LoadWish, secret: KubeObject | undefined): object {
  const globals = [...wish.globals].map(([name, bytes]) => [name, `bytes:${Buffer.from(bytes).toString("hex")}`]);
  return {
    name: wish.section,
    type: wish.attach.type,
    nodeselector: {},
    attachpoint: attachPointOf(wish),
    bytecode: bytecodeOf(wish, secret),
    ...(globals.length === 0 ? {} : { globals: Object.fromEntries(globals) }),
  };
}

function attachPointOf({ attach }: LoadWish): unknown {
  if (attach.type === "TRACEPOINT") return { singleattach: { name: attach.name } };
  const { interface: name, priority, direction, proceedOn } = attach;
  return {
    networkmultiattach: {
      interface: name,
      priority,
      direction,
      ...(proceedOn.length === 0 ? {} : { proceedon: proceedOn }),
    },
  };
}

function bytecodeOf({ source }: LoadWish, secret: KubeObject | undefined): unknown {
  if ("file" in source) return `file://${source.file}`;
  const { image, pullPolicy } = source;
  if (secret === undefined && pullPolicy === "IfNotPresent") return `image://${image}`;
  return {
    image: {
      url: image,
      imagepullpolicy: pullPolicy,
      ...(secret === undefined ? {} : { imagepullsecret: secret.metadata.name }),
    },
  };
}

/** Clients of April 2023 and later send the password of the registry along. */
function secretFor(id: string, { source }: LoadWish): KubeObject | undefined {
  if ("file" in source || source.username === "") return undefined;
  const auth = Buffer.from(`${source.username}:${source.password}`).toString("base64");
  const config = JSON.stringify({ auths: { [registryOf(source.image)]: { auth } } });
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: secretRef(id).name, namespace: secretNamespace },
    type: "kubernetes.io/dockerconfigjson",
    data: { ".dockerconfigjson": Buffer.from(config).toString("base64") },
  } as KubeObject;
}

/** As docker names registries in its credentials. */
function registryOf(reference: string): string {
  const [first = "", ...rest] = reference.replace(/^image:\/{1,3}/, "").split("/");
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === "localhost");
  return isHost ? first : "https://index.docker.io/v1/";
}
