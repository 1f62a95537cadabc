import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { connect, createServer } from "node:tls";
import { issueCertificate, makeAuthority, type Authority, type CertificateNames, type KeyPair } from "./authority.ts";
import {
  advanceAuthority,
  findSurvivors,
  goodIssuers,
  signerOf,
  trustBundle,
  type AuthorityPlan,
} from "./authority-state.ts";
import { renewAt, whyRenew } from "./renewal.ts";
import { decodeAuthority, decodeBundle, decodeKeyPair, encodeAuthority, encodeKeyPair } from "./secret-data.ts";

const day = 86_400_000;
const now = Date.now();
const daemon: CertificateNames = {
  commonName: "bpfd",
  dnsNames: ["bpfd.kube-system.svc", "localhost"],
  ipAddresses: ["127.0.0.1", "::1"],
  uris: ["bpfleet://daemon"],
  usages: ["server"],
};
const agent: CertificateNames = { commonName: "bpfd-agent", uris: ["bpfleet://agent"], usages: ["client"] };

/** The same for two sides of which each trusts a bundle of its own. */
function shakeHandsOver(
  server: { readonly leaf: KeyPair; readonly bundle: string },
  client: { readonly leaf: KeyPair; readonly bundle: string },
): Promise<readonly string[] | string> {
  return shakeHands(server.leaf, client.leaf, server.bundle, client.bundle);
}

/** The names that both sides of a TLS connection proved to each other, or the error of the side that refused. */
async function shakeHands(
  server: KeyPair,
  client: KeyPair,
  trusted: string,
  trustedByClient: string = trusted,
): Promise<readonly string[] | string> {
  await using listener = createServer(
    { cert: server.certificate, key: server.key, ca: trusted, requestCert: true, rejectUnauthorized: true },
    (socket) => socket.end(socket.getPeerX509Certificate()?.subject ?? ""),
  );
  listener.on("tlsClientError", () => {});
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as { port: number };
  const socket = connect({ port, host: "127.0.0.1", ca: trustedByClient, cert: client.certificate, key: client.key });
  try {
    await once(socket, "secureConnect");
    const server = socket.getPeerX509Certificate()?.subject ?? "";
    let seen = "";
    for await (const part of socket) seen += String(part);
    return seen === "" ? "refused by the server" : [seen, server];
  } catch (error) {
    return String((error as { code?: unknown }).code);
  } finally {
    socket.destroy();
  }
}

test("issueCertificate makes certificates by which both sides of mutual TLS know each other", async () => {
  const authority = await makeAuthority("bpfleet", { at: now, days: 30 });
  const [one, other] = [
    await issueCertificate(authority, daemon, { at: now, days: 10 }),
    await issueCertificate(authority, agent, { at: now, days: 10 }),
  ];
  assert.deepEqual(await shakeHands(one, other, authority.certificate), ["CN=bpfd-agent", "CN=bpfd"]);
  const read = new X509Certificate(one.certificate);
  assert.equal(read.subjectAltName?.includes("URI:bpfleet://daemon"), true);
  assert.equal(read.checkHost("bpfd.kube-system.svc"), "bpfd.kube-system.svc");
  assert.equal(read.checkIP("::1"), "::1");
  assert.equal(read.ca, false);
  const stranger = await issueCertificate(await makeAuthority("bpfleet", { at: now, days: 30 }), agent, {
    at: now,
    days: 10,
  });
  assert.equal(typeof (await shakeHands(one, stranger, authority.certificate)), "string");
  // A client's certificate is none for a server.
  assert.equal(typeof (await shakeHands(other, one, authority.certificate)), "string");
});

test("issueCertificate never outlives its authority", async () => {
  const authority = await makeAuthority("bpfleet", { at: now, days: 5 });
  const { certificate } = await issueCertificate(authority, agent, { at: now, days: 90 });
  assert.equal(
    new X509Certificate(certificate).validToDate.getTime(),
    new X509Certificate(authority.certificate).validToDate.getTime(),
  );
});

test("whyRenew finds every reason to issue a certificate anew, and none in a good one", async () => {
  const authority = await makeAuthority("bpfleet", { at: now, days: 90 });
  const kept = await issueCertificate(authority, daemon, { at: now, days: 30 });
  const why = (change: Partial<KeyPair> = {}, names = daemon, by: Authority = authority, at = now) =>
    whyRenew({ ...kept, ...change }, names, by.certificate, at);
  assert.equal(why(), undefined);
  assert.equal(why({}, daemon, authority, now + 19 * day), undefined);
  assert.match(why({}, daemon, authority, now + 21 * day) ?? "", /^two thirds of its life are over/);
  assert.equal(whyRenew(undefined, daemon, authority.certificate, now), "there is none");
  assert.equal(whyRenew({ certificate: kept.certificate }, daemon, authority.certificate, now), "there is none");
  assert.equal(why({ certificate: kept.certificate.slice(0, 200) }), "it cannot be read");
  const other = await issueCertificate(authority, daemon, { at: now, days: 30 });
  assert.equal(why({ key: other.key }), "its key is not the one it was made for");
  assert.equal(why({ key: "-" }), "its key is not the one it was made for");
  const sameName = await makeAuthority("bpfleet", { at: now, days: 90 });
  assert.equal(why({}, daemon, sameName), "another authority signs now");
  assert.equal(why({}, { ...daemon, commonName: "x" }), "it is not for x");
  assert.equal(why({}, { ...daemon, dnsNames: ["y.svc"] }), "it is not for y.svc");
  assert.equal(why({}, { ...daemon, ipAddresses: ["10.0.0.1"] }), "it is not for 10.0.0.1");
  assert.equal(why({}, { ...daemon, uris: ["bpfleet://agent"] }), "it is not for bpfleet://agent");
  assert.equal(why({}, { ...daemon, usages: ["server", "client"] }), "it is not for client");
});

const plan: AuthorityPlan = { commonName: "bpfleet", days: 90, overlapMs: day };

test("advanceAuthority replaces an authority such that old and new always understand each other", async () => {
  let state = await advanceAuthority(undefined, plan, now);
  let leaves = [await issueCertificate(signerOf(state), daemon, { at: now, days: 200 })];
  let bundles = [trustBundle(state)];
  const authorities = new Set<string>();
  // Each side may know what was current a day ago, or what is now.
  for (let at = now; at < now + 400 * day; at += day / 2) {
    const before = state;
    state = await advanceAuthority(state, plan, at);
    authorities.add(state.current.certificate);
    if (state === before) continue;
    leaves = [...leaves, await issueCertificate(signerOf(state), daemon, { at, days: 200 })].slice(-2);
    bundles = [...bundles, trustBundle(state)].slice(-2);
    for (const { certificate } of leaves) {
      const leaf = new X509Certificate(certificate);
      for (const bundle of bundles) {
        const trusted = bundle.split(/(?<=-----END CERTIFICATE-----\n)/).filter((pem) => pem !== "");
        assert.ok(
          trusted.some((pem) => leaf.verify(new X509Certificate(pem).publicKey)),
          `after ${(at - now) / day} days`,
        );
      }
    }
    assert.ok(new X509Certificate(state.current.certificate).validToDate.getTime() > at + 10 * day);
  }
  assert.ok(authorities.size >= 6 && authorities.size <= 8, String(authorities.size));
});

test("advanceAuthority goes on from a lost authority such that daemon and agent understand each other all the time", async () => {
  interface Files {
    readonly leaf: KeyPair;
    readonly bundle: string;
  }
  // Certificates are looked at with the clock of this machine: all of it happens before now.
  const start = now - 3 * day;
  const first = await advanceAuthority(undefined, plan, start);
  let state = first;
  const issue = async (names: CertificateNames, before: Files | undefined, at: number): Promise<Files> => {
    const isKept = before !== undefined && whyRenew(before.leaf, names, goodIssuers(state), at) === undefined;
    const leaf = isKept ? before.leaf : await issueCertificate(signerOf(state), names, { at, days: 80 });
    return { leaf, bundle: trustBundle(state) };
  };
  // Each side has read the files of now, or those of the step before.
  let [daemons, agents] = [[await issue(daemon, undefined, start)], [await issue(agent, undefined, start)]];
  const survivors = async (): Promise<readonly string[]> =>
    findSurvivors([...daemons, ...agents].map(({ leaf, bundle }) => ({ certificate: leaf.certificate, bundle })));
  const wasLost: boolean[] = [];
  for (const [step, at] of [0, 1, 2, 3, 4].map((each) => [each, start + (each * day) / 2] as const)) {
    state = await advanceAuthority(step === 0 ? undefined : state, plan, at, survivors);
    wasLost.push(state.current.key === undefined);
    daemons = [...daemons, await issue(daemon, daemons.at(-1), at)].slice(-2);
    agents = [...agents, await issue(agent, agents.at(-1), at)].slice(-2);
    for (const one of daemons)
      for (const other of agents)
        assert.deepEqual(await shakeHandsOver(one, other), ["CN=bpfd-agent", "CN=bpfd"], `at step ${step}`);
  }
  assert.deepEqual(wasLost, [true, true, false, false, false]);
  assert.notEqual(state.current.certificate, first.current.certificate);
  assert.ok(!trustBundle(state).includes(first.current.certificate), "the lost one is trusted no longer");
  assert.equal(whyRenew(agents.at(-1)?.leaf, agent, goodIssuers(state), now), undefined);
});

test("advanceAuthority believes nobody where nothing of a lost authority is left, or only what is over", async () => {
  const first = await advanceAuthority(undefined, plan, now);
  const leaf = await issueCertificate(signerOf(first), daemon, { at: now, days: 80 });
  const survivors = async () => findSurvivors([{ certificate: leaf.certificate, bundle: trustBundle(first) }]);
  const alone = await advanceAuthority(undefined, plan, now);
  assert.notEqual(alone.current.key, undefined);
  const late = await advanceAuthority(undefined, plan, now + 91 * day, survivors);
  assert.notEqual(late.current.key, undefined);
  // A certificate of a leaf in a bundle makes no authority of it.
  const odd = async () => findSurvivors([{ certificate: leaf.certificate, bundle: leaf.certificate }]);
  assert.notEqual((await advanceAuthority(undefined, plan, now, odd)).current.key, undefined);
});

test("advanceAuthority replaces what is damaged or over at once", async () => {
  const state = await advanceAuthority(undefined, plan, now);
  const broken = await advanceAuthority({ ...state, current: { ...state.current, certificate: "x" } }, plan, now);
  assert.notEqual(broken.current.certificate, "x");
  const late = await advanceAuthority(state, plan, now + 91 * day);
  assert.notEqual(late.current.certificate, state.current.certificate);
  assert.equal(await advanceAuthority(state, plan, now + day), state);
  assert.ok(renewAt(new X509Certificate(state.current.certificate)) > now + 59 * day);
});

test("decodeAuthority reads what encodeAuthority writes, in every step of an authority's life", async () => {
  let state = await advanceAuthority(undefined, plan, now);
  const lost = { ...state, current: { ...state.current, key: undefined }, next: signerOf(state) };
  assert.deepEqual(decodeAuthority(encodeAuthority(lost, trustBundle(lost))), lost);
  for (const days of [0, 61, 63, 65]) {
    state = await advanceAuthority(state, plan, now + days * day);
    const data = encodeAuthority(state, trustBundle(state));
    assert.deepEqual(decodeAuthority(data), state);
    assert.equal(decodeBundle(data), trustBundle(state));
  }
  const leaf = await issueCertificate(signerOf(state), agent, { at: now, days: 1 });
  assert.deepEqual(decodeKeyPair(encodeKeyPair(leaf, "x")), leaf);
  for (const data of [undefined, {}, { "tls.crt": "eA==" }, { "tls.crt": "eA==", "tls.key": "eA==" }])
    assert.equal(decodeAuthority(data), undefined);
});
