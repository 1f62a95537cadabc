import { secretNames, webhookName } from "../desired/names.ts";
import { webhookHosts } from "../webhook/webhook-objects.ts";
import type { CertificateNames } from "./authority.ts";

/** A certificate of ours, by the Secret that keeps it. */
export interface LeafCertificate {
  readonly secret: string;
  readonly names: CertificateNames;
}

/** bpfd's names of both sides, and who they are to each other. */
export const leafCertificates: readonly LeafCertificate[] = [
  {
    secret: secretNames.daemon,
    names: {
      commonName: "bpfd",
      uris: ["bpfleet://daemon"],
      dnsNames: ["localhost"],
      ipAddresses: ["::1", "127.0.0.1"],
      usages: ["server"],
    },
  },
  { secret: secretNames.agent, names: { commonName: "bpfd-agent", uris: ["bpfleet://agent"], usages: ["client"] } },
  {
    secret: secretNames.webhook,
    names: {
      commonName: webhookName,
      dnsNames: webhookHosts,
      usages: ["server"],
    },
  },
];

export const leafDays = 90;
