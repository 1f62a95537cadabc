/** Serves probes and admission on every address as an operator does, and asks both by IPv4; prints what came of it. */
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { serveHealth } from "@bpfleet/kube-client";
import { issueCertificate, makeAuthority, serveWebhook } from "@bpfleet/operator";

const six = createServer().listen(0, "::");
const [refusal] = await once(six, "error");
const lifetime = { at: Date.now(), days: 1 };
const subject = { commonName: "webhook", dnsNames: ["localhost"], usages: ["server"] } as const;
const source = { metrics: () => "", whyUnhealthy: () => undefined, whyUnready: () => undefined };
await using health = await serveHealth({ port: 0 }, source);
await using webhook = await serveWebhook({
  port: 0,
  certificate: await issueCertificate(await makeAuthority("test", lifetime), subject, lifetime),
  answer: () => "no review",
  onFault: () => undefined,
});
for (const { port } of [health, webhook]) {
  const client = connect(port, "127.0.0.1");
  await once(client, "connect");
  client.destroy();
}
console.log((refusal as NodeJS.ErrnoException).code);
