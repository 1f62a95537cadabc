import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

export interface IssuedFiles {
  readonly cert: string;
  readonly key: string;
}

const leafExtensions = "subjectAltName=IP:::1,IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n";
const authorityExtensions = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,digitalSignature\n";
const curve = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/** An authority in a directory, and what it issues. */
export class Authority implements IssuedFiles {
  readonly #directory: string;
  readonly cert: string;
  readonly key: string;

  constructor(directory: string, name: string, issued?: IssuedFiles) {
    this.#directory = directory;
    this.cert = issued?.cert ?? join(directory, `${name}.crt`);
    this.key = issued?.key ?? join(directory, `${name}.key`);
    if (issued === undefined)
      openssl(`req -x509 ${curve} -days 2 -keyout ${this.key} -out ${this.cert} -subj /CN=${name}`);
  }

  /** `days`: from now; one that is negative was good until then. */
  issue(name: string, extensions = leafExtensions, { days = 2, subject = `/CN=${name}` } = {}): IssuedFiles {
    const at = (ending: string): string => join(this.#directory, `${name}.${ending}`);
    writeFileSync(at("ext"), extensions);
    openssl(`req ${curve} -keyout ${at("key")} -out ${at("csr")} -subj ${subject}`);
    const signer = `-CA ${this.cert} -CAkey ${this.key} -CAcreateserial -days ${days}`;
    openssl(`x509 -req -in ${at("csr")} ${signer} -extfile ${at("ext")} -out ${at("crt")}`);
    return { cert: at("crt"), key: at("key") };
  }

  issueAuthority(name: string): Authority {
    return new Authority(this.#directory, name, this.issue(name, authorityExtensions));
  }
}

function openssl(words: string): void {
  execFileSync("openssl", words.split(" "), { stdio: ["ignore", "ignore", "pipe"] });
}
