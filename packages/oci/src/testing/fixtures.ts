import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isRecord } from "@bpfleet/base";
import type { Digest } from "../digest.ts";
import type { BuiltImage } from "../image/build-image.ts";
import { parseLayout } from "../image/layout.ts";
import type { JsonObject } from "../json-object.ts";
import type { Evidence } from "../signature/evidence.ts";
import type { AcceptedIdentity, AcceptedKey } from "../signature/policy.ts";

/** What testdata/make-fixtures.ts signed. */
export const testdata: string = join(import.meta.dirname, "../../testdata");

export const releaseIssuer = "https://token.actions.githubusercontent.com";
export const releaseSubject = "https://github.com/example/bytecode/.github/workflows/release.yaml@refs/tags/v1";

export function readFixture(name: string): Buffer {
  return readFileSync(join(testdata, name));
}

export function readJsonFixture(name: string): JsonObject {
  const value: unknown = JSON.parse(readFixture(name).toString());
  if (!isRecord(value)) throw new TypeError(`${name} is no object`);
  return value;
}

/** The image that the fixtures sign. */
export function signedImage(): BuiltImage {
  return parseLayout(readFixture("xdp_pass.oci.tar"), "xdp_pass.oci.tar", "linux/amd64");
}

export function bundleEvidence(name: string, over: Digest): Evidence {
  return { format: "bundle", bytes: readFixture(name), over, annotations: {} };
}

export function simpleEvidence(name: string, over: Digest): Evidence {
  const { payload, annotations } = readJsonFixture(name) as { payload: string; annotations: Record<string, string> };
  return { format: "simplesigning", bytes: Buffer.from(payload), over, annotations };
}

export function acceptedKey(file = "release.pub", more: Partial<AcceptedKey> = {}): AcceptedKey {
  return { kind: "key", name: "release", pem: readFixture(file).toString(), needsTransparencyLog: false, ...more };
}

export function acceptedIdentity(more: Partial<AcceptedIdentity> = {}): AcceptedIdentity {
  return {
    kind: "identity",
    name: "release workflow",
    issuer: releaseIssuer,
    subject: releaseSubject,
    needsTransparencyLog: true,
    needsCertificateLog: true,
    trustedRoot: readJsonFixture("trusted-root.json"),
    ...more,
  };
}
