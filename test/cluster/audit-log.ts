import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const policy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
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
}

interface Entry {
  readonly verb: string;
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
    const lines = readFileSync(this.#path, "utf8").split("\n").slice(0, -1);
    return lines
      .map((line) => toWrite(JSON.parse(line) as Entry))
      .filter((write) => write.account === account && !/ (leases|events)\//.test(write.what));
  }

  [Symbol.dispose](): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function toWrite({ verb, user, objectRef, responseStatus }: Entry): Write {
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
  };
}
