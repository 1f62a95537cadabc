import { readFileSync } from "node:fs";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hexOf } from "../digest.ts";
import { mediaTypes } from "../image/manifest.ts";
import type { Credentials } from "../registry/credentials.ts";
import { Credential } from "../registry/credentials.ts";
import { RegistryClient } from "../registry/registry-client.ts";
import { parseReference } from "../reference.ts";
import type { Evidence } from "../signature/evidence.ts";
import { bundleTypePrefix, signPredicate, simpleSigningType } from "../signature/evidence.ts";
import { ContentStore } from "../store/content-store.ts";
import { makeCertificate } from "./certificates.ts";
import type { CertificateFiles } from "./certificates.ts";
import { registryUser } from "./registry-process.ts";

/** A directory with a certificate, a content store and mirrors of its own. */
export class RegistryBench implements Disposable {
  readonly directory: string = mkdtempSync(join(tmpdir(), "registry-"));
  readonly tls: CertificateFiles = makeCertificate(this.directory, "registry");
  readonly mirrors: string = join(this.directory, "mirrors");
  readonly store: ContentStore = new ContentStore(join(this.directory, "store"), { graceMs: 0 });

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Serves the images of `host` from these URLs, with our certificate; the host itself is not asked in vain. */
  mirror(host: string, urls: readonly string[], more = ""): void {
    mkdirSync(join(this.mirrors, host), { recursive: true });
    const last = urls.at(-1) ?? "";
    const tables = urls
      .slice(0, -1)
      .map((url) => `[host.${JSON.stringify(url)}]\nca = ${JSON.stringify(this.tls.cert)}\n${more}`);
    const text = `server = ${JSON.stringify(last)}\nca = ${JSON.stringify(this.tls.cert)}\n${more}\n${tables.join("\n")}`;
    writeFileSync(join(this.mirrors, host, "hosts.toml"), text);
  }

  /** An HTTPS server with our certificate. */
  async serve(
    answer: (request: IncomingMessage, response: ServerResponse, body: string) => void,
    wantsClient = false,
  ): Promise<ScriptedServer> {
    const pem = (path: string) => readFileSync(path);
    const options = { cert: pem(this.tls.cert), key: pem(this.tls.key) };
    const client = wantsClient ? { requestCert: true, rejectUnauthorized: true, ca: pem(this.tls.cert) } : {};
    const server = createServer({ ...options, ...client }, (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => answer(request, response, Buffer.concat(chunks).toString()));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    return {
      host: `127.0.0.1:${port}`,
      async [Symbol.asyncDispose]() {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      },
    };
  }
}

export interface ScriptedServer extends AsyncDisposable {
  readonly host: string;
}

export function credentialsFor(host: string, password: string = registryUser.password): Credentials {
  return new Map([[host, new Credential(registryUser.username, password)]]);
}

/** Attaches a signature as cosign does on a registry without referrers: an index at `sha256-<hex>`, or `.sig`. */
export async function pushEvidence(
  client: RegistryClient,
  { format, bytes, over, annotations }: Evidence,
): Promise<void> {
  const config = Buffer.from("{}");
  const mediaType = format === "bundle" ? `${bundleTypePrefix}.v0.3+json` : simpleSigningType;
  const layer = { mediaType, digest: await client.pushBlob(bytes, "signature"), size: bytes.length, annotations };
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: {
        mediaType: mediaTypes.empty,
        digest: await client.pushBlob(config, "configuration"),
        size: config.length,
      },
      layers: [layer],
    }),
  );
  const tag = `sha256-${hexOf(over)}`;
  if (format === "simplesigning") {
    await client.pushManifest(manifest, mediaTypes.manifest, `${tag}.sig`);
    return;
  }
  const digest = await client.pushManifest(manifest, mediaTypes.manifest, `${tag}-bundle`);
  const entry = {
    mediaType: mediaTypes.manifest,
    digest,
    size: manifest.length,
    artifactType: mediaType,
    annotations: { "dev.sigstore.bundle.predicateType": signPredicate },
  };
  const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: [entry] }));
  await client.pushManifest(index, mediaTypes.index, tag);
}

export function openClient(
  reference: string,
  purpose: "pull" | "push",
  bench: RegistryBench,
  auth: Credentials,
): Promise<RegistryClient> {
  return RegistryClient.open(parseReference(reference), purpose, { auth, mirrors: bench.mirrors, backoffMs: 5 });
}
