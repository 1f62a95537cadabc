import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const policy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  omitStages: [ResponseStarted]
  verbs: [create, update, patch, delete, deletecollection]
- level: Metadata
  users: ["system:serviceaccount:kube-system:bpfd-daemon"]
  verbs: [list, watch]
`;

/** A write that the API server answered. */
export interface Write {
  /** Of a service account the name alone. */
  readonly account: string;
  /** `delete nodestates/n1`, `patch ebpfprograms/a/status`. */
  readonly what: string;
  readonly status: number;
  /** Of the object. */
  readonly path: string;
  /** Server-side apply, forced: the API server refuses that word for any other patch. */
  readonly isApplied: boolean;
}

interface Entry {
  readonly verb: string;
  readonly requestURI: string;
  readonly user: { readonly username: string };
  readonly objectRef?: {
    readonly resource: string;
    readonly name?: string;
    readonly namespace?: string;
    readonly subresource?: string;
    readonly apiGroup?: string;
    readonly apiVersion?: string;
  };
  readonly responseStatus?: { readonly code?: number };
}

/** What an API server that was started with `flags` has written, by whom. */
export class AuditLog implements Disposable {
  readonly #dir = mkdtempSync(join(tmpdir(), `bpfleet-fleet-${process.pid}-`));
  readonly #path = join(this.#dir, "log");
  readonly flags: readonly string[];

  constructor() {
    const policyPath = join(this.#dir, "policy.yaml");
    writeFileSync(policyPath, policy);
    this.flags = [`--audit-policy-file=${policyPath}`, `--audit-log-path=${this.#path}`];
  }

  /** Leases and events are no acts. */
  writes(account: string): readonly Write[] {
    return this.allWrites(account).filter((write) => !/ (leases|events)\//.test(write.what));
  }

  allWrites(account: string): readonly Write[] {
    return this.#entries()
      .filter(({ verb }) => !isReading(verb))
      .map(toWrite)
      .filter((write) => write.account === account);
  }

  /** What agents list and watch of a resource: `watch` and the path with its query. */
  agentReads(resource: string): readonly { readonly verb: string; readonly url: URL }[] {
    return this.#entries()
      .filter(({ verb, objectRef }) => isReading(verb) && objectRef?.resource === resource)
      .map(({ verb, requestURI }) => ({ verb, url: new URL(requestURI, "https://server") }));
  }

  #entries(): readonly Entry[] {
    const lines = readFileSync(this.#path, "utf8").split("\n").slice(0, -1);
    return lines.map((line) => JSON.parse(line) as Entry);
  }

  [Symbol.dispose](): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function isReading(verb: string): boolean {
  return verb === "list" || verb === "watch";
}

function toWrite({ verb, user, objectRef, responseStatus, requestURI }: Entry): Write {
  const { resource = "", name, namespace, subresource, apiGroup, apiVersion = "" } = objectRef ?? {};
  const where = [resource, name, subresource].filter((part) => part !== undefined);
  const root = apiGroup === undefined ? `/api/${apiVersion}` : `/apis/${apiGroup}/${apiVersion}`;
  const scope = namespace === undefined ? "" : `/namespaces/${namespace}`;
  const account = user.username.replace(/^system:serviceaccount:[^:]+:/, "");
  return {
    account,
    what: `${verb} ${where.join("/")}`,
    status: responseStatus?.code ?? 0,
    path: `${root}${scope}/${resource}/${name}`,
    isApplied: new URL(requestURI, "https://server").searchParams.get("force") === "true",
  };
}
