import { execFileSync } from "node:child_process";
import { join } from "node:path";

export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

/** A self-signed certificate for loopback and two names that a proxy leads there, good for servers, clients and as its own authority. */
export function makeCertificate(directory: string, name: string): CertificateFiles {
  const [cert, key] = [join(directory, `${name}.crt`), join(directory, `${name}.key`)];
  const request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split(" ");
  const subject = [
    "-subj",
    `/CN=${name}`,
    "-addext",
    "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:registry.test,DNS:storage.test",
  ];
  const usage = ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"];
  execFileSync("openssl", [...request, "-keyout", key, "-out", cert, ...subject, ...usage], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  return { cert, key };
}
