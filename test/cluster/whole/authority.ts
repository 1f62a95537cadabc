import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The certificate authority of one cluster, in a folder, and the kubeconfigs of those who have a certificate. */
export class Authority {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    writeFileSync(this.path("empty.cnf"), "[req]\ndistinguished_name=dn\nprompt=no\n[dn]\n");
    this.#sign("ca", "/CN=bpfleet-whole", [
      "basicConstraints=critical,CA:TRUE",
      "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
    ]);
    openssl("genrsa", "-out", this.path("accounts.key"), "2048");
    openssl("rsa", "-in", this.path("accounts.key"), "-pubout", "-out", this.path("accounts.pub"));
  }

  path(name: string): string {
    return join(this.#folder, name);
  }

  /** Makes `NAME.crt` and `NAME.key` once; `names` are the subject's alternative names. */
  certify(name: string, subject: string, usage: "serverAuth" | "clientAuth" | "both", names?: string): void {
    if (existsSync(this.path(`${name}.crt`))) return;
    this.#sign(name, subject, [
      "basicConstraints=critical,CA:FALSE",
      "keyUsage=critical,digitalSignature,keyEncipherment",
      `extendedKeyUsage=${usage === "both" ? "serverAuth,clientAuth" : usage}`,
      ...(names === undefined ? [] : [`subjectAltName=${names}`]),
    ]);
  }

  /** A kubeconfig of whom `certify` made a certificate for; returns its path. */
  kubeconfig(name: string, server: string): string {
    const packed = (file: string): string => readFileSync(this.path(file)).toString("base64");
    const path = this.path(`${name}.kubeconfig`);
    const config = {
      apiVersion: "v1",
      kind: "Config",
      "current-context": "whole",
      clusters: [{ name: "whole", cluster: { server, "certificate-authority-data": packed("ca.crt") } }],
      contexts: [{ name: "whole", context: { cluster: "whole", user: name } }],
      users: [
        {
          name,
          user: { "client-certificate-data": packed(`${name}.crt`), "client-key-data": packed(`${name}.key`) },
        },
      ],
    };
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
    return path;
  }

  #sign(name: string, subject: string, extensions: readonly string[]): void {
    const signer = name === "ca" ? [] : ["-CA", this.path("ca.crt"), "-CAkey", this.path("ca.key")];
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    const files = ["-keyout", this.path(`${name}.key`), "-out", this.path(`${name}.crt`)];
    const more = extensions.flatMap((extension) => ["-addext", extension]);
    const config = ["-config", this.path("empty.cnf"), "-x509", "-days", "7", "-subj", subject];
    openssl("req", ...config, ...key, ...signer, ...more, ...files);
  }
}

function openssl(...args: readonly string[]): void {
  execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
}
