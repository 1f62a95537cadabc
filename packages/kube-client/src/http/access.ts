/** How to reach an API server and who we are there. */
export interface ClusterAccess {
  /** `https://HOST:PORT[/PREFIX]` */
  readonly server: string;
  readonly namespace: string;
  readonly tls: TlsAccess;
  readonly credentials: Credentials;
  /** `http://HOST:PORT` */
  readonly proxyUrl?: string | undefined;
  /** False where a proxy or a server is known to break it. */
  readonly allowsHttp2?: boolean | undefined;
}

export interface TlsAccess {
  /** PEM; absent: the system's authorities. */
  readonly ca?: string | undefined;
  readonly serverName?: string | undefined;
  readonly isInsecure?: boolean | undefined;
}

export interface ClientCertificate {
  readonly cert: string;
  readonly key: string;
}

/** What proves who we are; asked before every request, so that what was renewed is used at once. */
export interface Credentials {
  current(): Promise<Proof>;
  /** The server refused what `current` gave: that is read or made anew, unless it was meanwhile. */
  renew(refused: Proof): Promise<void>;
}

export interface Proof {
  /** The whole header `authorization`. */
  readonly authorization?: string | undefined;
  readonly certificate?: ClientCertificate | undefined;
  /** PEM of whom we trust, where it is renewed while we run. */
  readonly ca?: string | undefined;
  /** `impersonate-…` */
  readonly headers?: Readonly<Record<string, string | readonly string[]>> | undefined;
}

export const anonymous: Credentials = {
  current: async () => ({}),
  renew: async () => undefined,
};

export function fixedCredentials(proof: Proof): Credentials {
  return { current: async () => proof, renew: async () => undefined };
}
