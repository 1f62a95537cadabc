import type { X509Certificate } from "node:crypto";

/** Who is on the other end of a connection, by what its certificate says. */
export const agentIdentity: PeerIdentity = { uri: "bpfleet://agent", commonName: "bpfd-agent" };
export const daemonIdentity: PeerIdentity = { uri: "bpfleet://daemon", commonName: "bpfd" };

export interface PeerIdentity {
  /** Subject alternative name of type URI. */
  readonly uri: string;
  /** As bpfd's own certificates have it. */
  readonly commonName: string;
}

/** Why this is not who is expected; `undefined` when it is. The chain was verified before. */
export function whyNotPeer(
  certificate: X509Certificate | undefined,
  wanted: PeerIdentity,
  nowMs: number,
): string | undefined {
  if (certificate === undefined) return "it shows no certificate";
  if (certificate.validToDate.getTime() < nowMs) return `its certificate ended at ${certificate.validTo}`;
  const names = alternativeNames(certificate.subjectAltName ?? "");
  const { CN: commonName } = certificate.toLegacyObject().subject;
  if (names.includes(`URI:${wanted.uri}`) || commonName === wanted.commonName) return undefined;
  const said = [...names, ...(typeof commonName === "string" ? [`CN ${commonName}`] : [])].join(", ");
  return `its certificate is one of ${said || "nobody"}; it must have the name URI:${wanted.uri} or CN ${wanted.commonName}`;
}

/** `DNS:a, URI:"b, c"`: a name that holds a comma or quotes is written as JSON. */
function alternativeNames(text: string): readonly string[] {
  const names = text.match(/[A-Za-z ]+:(?:"(?:[^"\\]|\\.)*"|[^,"]*)/g) ?? [];
  return names.map((name) => name.trim());
}
