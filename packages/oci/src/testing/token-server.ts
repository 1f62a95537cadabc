import { randomUUID, sign, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { CertificateFiles } from "./certificates.ts";
import type { RegistryBench, ScriptedServer } from "./registry-bench.ts";
import { registryUser } from "./registry-process.ts";

/** An identity token that the server knows. */
export const identityToken = "an-identity-token";

/** Gives the tokens that docker-registry takes to whoever has the password or the identity token. */
export async function startTokenServer(bench: RegistryBench, signer: CertificateFiles): Promise<ScriptedServer> {
  const basic = `Basic ${Buffer.from(`${registryUser.username}:${registryUser.password}`).toString("base64")}`;
  return bench.serve((request, response, body) => {
    const url = new URL(request.url ?? "/", "https://token");
    const form = new URLSearchParams(body);
    const parameters = request.method === "POST" ? form : url.searchParams;
    const isKnown =
      request.method === "POST" ? form.get("refresh_token") === identityToken : request.headers.authorization === basic;
    if (!isKnown) {
      response.writeHead(401, { "content-type": "application/json" });
      response.end('{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}');
      return;
    }
    const token = makeToken(signer, parameters.get("service") ?? "", parameters.get("scope") ?? "");
    response.end(JSON.stringify(request.method === "POST" ? { access_token: token } : { token }));
  });
}

function makeToken(signer: CertificateFiles, service: string, scope: string): string {
  const [, name, actions = ""] = /^repository:(.*):([a-z,]+)$/.exec(scope) ?? [];
  const now = Math.floor(Date.now() / 1000);
  const certificate = new X509Certificate(readFileSync(signer.cert)).raw.toString("base64");
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = {
    iss: "test",
    sub: registryUser.username,
    aud: service,
    exp: now + 60,
    nbf: now - 10,
    iat: now,
    jti: randomUUID(),
    access: [{ type: "repository", name, actions: actions.split(",") }],
  };
  const text = `${encode({ typ: "JWT", alg: "ES256", x5c: [certificate] })}.${encode(claims)}`;
  const signature = sign("sha256", Buffer.from(text), { key: readFileSync(signer.key), dsaEncoding: "ieee-p1363" });
  return `${text}.${signature.toString("base64url")}`;
}
