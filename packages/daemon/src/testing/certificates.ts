import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { TlsPaths } from "../tls/tls-files.ts";

export interface CertificateWish {
  readonly commonName: string;
  readonly uri?: string | undefined;
  /** In seconds from now; a week when not given. */
  readonly validSeconds?: number | undefined;
  /** Not before; long ago when not given. */
  readonly from?: Date | undefined;
  /** Other than this folder's authority. */
  readonly authority?: string | undefined;
}

let pattern = "";
let serial = 0;

/** An authority and what it signs, in a folder; replaced as a kubelet replaces the files of a Secret. */
export class Certificates {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "ca.cnf"), configuration(folder));
    if (existsSync(join(folder, "index.txt"))) return;
    writeFileSync(join(folder, "index.txt"), "");
    writeFileSync(join(folder, "index.txt.attr"), "unique_subject = no\n");
    this.addAuthority("ca");
  }

  /** With the certificates of daemon and agent, which are made once for all tests of a file. */
  static copy(folder: string): Certificates {
    if (pattern === "") {
      pattern = mkdtempSync(join(tmpdir(), "bpfleet-certificates-"));
      process.on("exit", () => rmSync(pattern, { recursive: true, force: true }));
      const first = new Certificates(pattern);
      first.issueDaemon();
      first.issueAgent();
    }
    cpSync(pattern, folder, { recursive: true, verbatimSymlinks: true });
    return new Certificates(folder);
  }

  /** Of what was issued last under this name. */
  pathsOf(name: string): TlsPaths {
    const at = (file: string): string => join(this.#folder, name, "..data", file);
    return { cert: at("tls.crt"), key: at("tls.key"), ca: at("ca.crt") };
  }

  addAuthority(name: string): void {
    const usage = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"];
    this.#sign(join(this.#folder, name), `/CN=bpfleet ${name}`, usage, undefined, 7 * 86_400);
  }

  /** The files `tls.crt`, `tls.key` and `ca.crt` below a link that is swapped when they are made again. */
  issue(
    name: string,
    { commonName, uri, validSeconds = 7 * 86_400, from, authority = "ca" }: CertificateWish,
  ): TlsPaths {
    const volume = join(this.#folder, name);
    const version = join(volume, `..${process.pid}-${++serial}`);
    mkdirSync(version, { recursive: true });
    const extensions = [
      "basicConstraints=CA:FALSE",
      "extendedKeyUsage=serverAuth,clientAuth",
      ...(uri === undefined ? [] : [`subjectAltName=URI:${uri}`]),
    ];
    const signer = join(this.#folder, authority);
    this.#sign(join(version, "tls"), `/CN=${commonName}`, extensions, signer, validSeconds, from);
    execFileSync("cp", [`${signer}.crt`, join(version, "ca.crt")]);
    symlinkSync(basename(version), join(volume, "..new"));
    renameSync(join(volume, "..new"), join(volume, "..data"));
    return this.pathsOf(name);
  }

  issueDaemon(more: Partial<CertificateWish> = {}): TlsPaths {
    return this.issue("daemon", { commonName: "bpfd", uri: "bpfleet://daemon", ...more });
  }

  issueAgent(more: Partial<CertificateWish> = {}): TlsPaths {
    return this.issue("agent", { commonName: "bpfd-agent", uri: "bpfleet://agent", ...more });
  }

  #sign(
    path: string,
    subject: string,
    extensions: readonly string[],
    signer: string | undefined,
    validSeconds: number,
    from = new Date("2020-01-01T00:00:00Z"),
  ): void {
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", `${path}.key`];
    openssl("req", "-new", "-config", join(this.#folder, "ca.cnf"), "-subj", subject, ...key, "-out", `${path}.csr`);
    writeFileSync(`${path}.ext`, `${extensions.join("\n")}\n`);
    const signing =
      signer === undefined
        ? ["-selfsign", "-keyfile", `${path}.key`]
        : ["-cert", `${signer}.crt`, "-keyfile", `${signer}.key`];
    const dates = ["-startdate", renderDate(from.getTime()), "-enddate", renderDate(Date.now() + validSeconds * 1000)];
    const files = ["-in", `${path}.csr`, "-extfile", `${path}.ext`, "-out", `${path}.crt`];
    // Of all its commands only `ca` signs for less than a day.
    openssl(
      "ca",
      "-batch",
      "-notext",
      "-create_serial",
      "-config",
      join(this.#folder, "ca.cnf"),
      ...signing,
      ...dates,
      ...files,
    );
  }
}

function openssl(...args: readonly string[]): void {
  execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
}

function renderDate(ms: number): string {
  return `${new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+Z/g, "")}Z`;
}

function configuration(folder: string): string {
  return [
    "[req]",
    "distinguished_name=dn",
    "prompt=no",
    "[dn]",
    "[ca]",
    "default_ca=own",
    "[own]",
    `database=${join(folder, "index.txt")}`,
    `serial=${join(folder, "serial")}`,
    `new_certs_dir=${folder}`,
    "default_md=sha256",
    "policy=any",
    "[any]",
    "commonName=supplied",
    "",
  ].join("\n");
}
