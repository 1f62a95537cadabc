import { isAbsolute, sep } from "node:path";
import type { Credentials, Proof } from "../http/access.ts";
import type { Timing } from "../timing.ts";
import { ExecCredentials } from "./exec-plugin.ts";
import type { ExecPlugin } from "./exec-plugin.ts";
import type { KubeconfigNode } from "./kubeconfig-node.ts";
import { besideFile } from "./read-kubeconfig.ts";
import { RenewedFile } from "./renewed-file.ts";
import { sayErrno } from "./say-errno.ts";

export interface UserContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly timing: Timing;
  readonly hasTerminal: boolean;
  /** What an exec plug-in is told when it asks. */
  readonly cluster: Readonly<Record<string, unknown>>;
}

/** A value that stands in the file or in a file of its own that others may renew. */
type Source = { readonly text: string } | { readonly file: RenewedFile; readonly node: KubeconfigNode };

export function userCredentials(user: KubeconfigNode, context: UserContext): Credentials {
  const provider = user.at("auth-provider");
  if (!provider.isAbsent)
    provider.fail("is served by no client since Kubernetes 1.26", "use an exec plug-in, `kubelogin` for example");
  const headers = impersonation(user);
  const exec = user.at("exec");
  if (!exec.isAbsent) return withHeaders(new ExecCredentials(readPlugin(exec, context)), headers);
  const cert = fileOrData(user, "client-certificate", context.timing);
  const key = fileOrData(user, "client-key", context.timing);
  if ((cert === undefined) !== (key === undefined)) {
    const [there, absent] =
      cert === undefined ? ["client-key", "client-certificate"] : ["client-certificate", "client-key"];
    user.at(absent).fail(`is missing, and ${there} is of no use without it`, "add it or its -data form");
  }
  const token = tokenSource(user, context.timing);
  const basic = basicAuthorization(user);
  const files = [cert, key, token].flatMap((source) => (source !== undefined && "file" in source ? [source.file] : []));
  return {
    current: async (): Promise<Proof> => {
      const bearer = token === undefined ? undefined : await readSource(token);
      return {
        ...(bearer === undefined ? basic : { authorization: `Bearer ${bearer}` }),
        ...(cert === undefined || key === undefined
          ? {}
          : { certificate: { cert: await readSource(cert), key: await readSource(key) } }),
        headers,
      };
    },
    renew: async () => files.forEach((file) => file.expire()),
  };
}

function tokenSource(user: KubeconfigNode, timing: Timing): Source | undefined {
  // As in kubectl: the file is read where both are given.
  const node = user.at("tokenFile");
  const path = node.text();
  if (path !== undefined) return { file: new RenewedFile(besideFile(node, path), timing), node };
  const token = user.at("token").text();
  return token === undefined ? undefined : { text: token };
}

/** `NAME-data` counts before `NAME`. */
export function fileOrData(parent: KubeconfigNode, name: string, timing: Timing): Source | undefined {
  const data = parent.at(`${name}-data`);
  const text = data.text();
  if (text !== undefined) return { text: decodeData(data, text) };
  const node = parent.at(name);
  const path = node.text();
  return path === undefined ? undefined : { file: new RenewedFile(besideFile(node, path), timing), node };
}

export async function readSource(source: Source): Promise<string> {
  if ("text" in source) return source.text;
  try {
    return await source.file.text();
  } catch (cause) {
    return source.node.fail(
      `names ${source.file.path}: ${sayErrno(cause)}`,
      "check the path and who may read it",
      cause,
    );
  }
}

function decodeData(node: KubeconfigNode, text: string): string {
  const packed = text.replaceAll(/\s+/g, "");
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(packed)) node.fail("is not base64", "encode the PEM file: `base64 -w0 FILE`");
  const decoded = Buffer.from(packed, "base64").toString("utf8");
  if (!decoded.includes("-----BEGIN ")) node.fail("holds no PEM", "encode the PEM file: `base64 -w0 FILE`");
  return decoded;
}

function basicAuthorization(user: KubeconfigNode): Pick<Proof, "authorization"> {
  const [name, password] = [user.at("username").text(), user.at("password").text()];
  if (name === undefined || password === undefined) return {};
  return { authorization: `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}` };
}

function impersonation(user: KubeconfigNode): Readonly<Record<string, string | readonly string[]>> {
  const name = user.at("as").text();
  const groups = user.at("as-groups").texts();
  const uid = user.at("as-uid").text();
  const extra = user.at("as-user-extra");
  if (name === undefined && (groups.length > 0 || uid !== undefined || !extra.isAbsent))
    user
      .at("as")
      .fail("is missing, and as-groups, as-uid or as-user-extra is of no use without it", "add the user's name");
  return {
    ...(name === undefined ? {} : { "impersonate-user": name }),
    ...(uid === undefined ? {} : { "impersonate-uid": uid }),
    ...(groups.length === 0 ? {} : { "impersonate-group": groups }),
    ...Object.fromEntries(
      extra.keys().map((key) => [`impersonate-extra-${encodeURIComponent(key.toLowerCase())}`, extra.at(key).texts()]),
    ),
  };
}

function withHeaders(credentials: Credentials, headers: Proof["headers"]): Credentials {
  if (headers === undefined || Object.keys(headers).length === 0) return credentials;
  const given = new WeakMap<Proof, Proof>();
  return {
    current: async () => {
      const proof = await credentials.current();
      const whole = { ...proof, headers };
      given.set(whole, proof);
      return whole;
    },
    renew: (refused) => credentials.renew(given.get(refused) ?? refused),
  };
}

const versions = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"] as const;
const modes = ["Never", "IfAvailable", "Always"] as const;

function readPlugin(exec: KubeconfigNode, context: UserContext): ExecPlugin {
  const version = exec.at("apiVersion");
  const apiVersion = versions.find((known) => known === version.text());
  if (apiVersion === undefined)
    return version.fail(`is ${version.text() ?? "missing"}`, `plug-ins of ${versions.join(" and ")} are served`);
  const mode = exec.at("interactiveMode");
  const said = mode.text() ?? (apiVersion.endsWith("/v1") ? undefined : "IfAvailable");
  const interactiveMode = modes.find((known) => known === said);
  if (interactiveMode === undefined) return mode.fail(`is ${said ?? "missing"}`, `write one of ${modes.join(", ")}`);
  const command = exec.at("command").text() ?? exec.at("command").fail("is missing", "name the program to run");
  const env = exec
    .at("env")
    .items()
    .map((item) => [item.at("name").text() ?? "", item.at("value").text() ?? ""] as const);
  return {
    where: `${exec.path} in ${exec.file}`,
    apiVersion,
    // With a slash in it, it is relative to the file; else it is looked for in PATH.
    command: command.includes(sep) && !isAbsolute(command) ? besideFile(exec.at("command"), command) : command,
    args: exec.at("args").texts(),
    env: { ...context.env, ...Object.fromEntries(env) },
    installHint: exec.at("installHint").text()?.trim(),
    interactiveMode,
    cluster: exec.at("provideClusterInfo").flag() ? context.cluster : undefined,
    hasTerminal: context.hasTerminal,
    now: () => context.timing.now(),
  };
}
