import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { secretNames } from "../desired/names.ts";
import { decodeAuthority, decodeBundle, decodeKeyPair, type SecretData } from "./secret-data.ts";
import { settleCertificates, type CertificatePlan } from "./settle-certificates.ts";
import { splitPem } from "./renewal.ts";

const day = 86_400_000;
const start = Date.now();
const plan: CertificatePlan = { authority: { commonName: "bpfleet", days: 730, overlapMs: day }, leafDays: 90 };
const names: readonly string[] = Object.values(secretNames);
const leaves = names.filter((name) => name !== secretNames.authority);

interface Kept {
  readonly data: SecretData;
}

/** Secrets in memory, with what was written. */
class Secrets {
  readonly kept = new Map<string, Kept>();
  readonly written: string[] = [];
  otherNow = start;

  async read(name: string): Promise<Kept | undefined> {
    return this.kept.get(name);
  }

  async write(name: string, live: Kept | undefined, _type: string, data: SecretData, because: string): Promise<void> {
    assert.equal(live, this.kept.get(name));
    this.kept.set(name, { data });
    this.written.push(`${name}: ${because}`);
  }

  async otherClock(): Promise<number> {
    return this.otherNow;
  }

  async look(at = start): Promise<number> {
    const before = this.written.length;
    await settleCertificates(this, plan, at);
    return this.written.length - before;
  }

  pem(name: string): { readonly leaf: string; readonly bundle: string } {
    const { data } = this.kept.get(name) ?? assert.fail(`there is no ${name}`);
    return { leaf: decodeKeyPair(data)?.certificate ?? "", bundle: decodeBundle(data) ?? "" };
  }

  copy(): Secrets {
    const copy = new Secrets();
    for (const [name, kept] of this.kept) copy.kept.set(name, kept);
    return copy;
  }

  /** Who does not trust whom, where some have read the Secrets of now and others those of before. */
  distrust(of: Secrets = this): readonly string[] {
    return leaves.flatMap((one) =>
      leaves.filter((other) => !trusts(this.pem(one).bundle, of.pem(other).leaf)).map((other) => `${one} ${other}`),
    );
  }
}

function trusts(bundle: string, leaf: string): boolean {
  const certificate = new X509Certificate(leaf);
  return splitPem(bundle).some((pem) => certificate.verify(new X509Certificate(pem).publicKey));
}

function* ordersOf(items: readonly string[]): Generator<readonly string[]> {
  if (items.length === 0) yield [];
  for (const item of items) for (const rest of ordersOf(items.filter((each) => each !== item))) yield [item, ...rest];
}

async function installed(): Promise<Secrets> {
  const secrets = new Secrets();
  assert.equal(await secrets.look(), 4);
  assert.equal(await secrets.look(), 0);
  return secrets;
}

test("settleCertificates ends after few writes in whatever order the four Secrets are deleted, looked at in between or not", async () => {
  const first = await installed();
  let most = 0;
  for (const order of ordersOf(names))
    for (const looks of [0b1111, 0b0001, 0b0010, 0b0100]) {
      const secrets = first.copy();
      for (const [at, name] of order.entries()) {
        secrets.kept.delete(name);
        if ((looks & (1 << at)) !== 0) await secrets.look();
      }
      await secrets.look();
      most = Math.max(most, secrets.written.length);
      assert.equal(await secrets.look(), 0, `${order.join(" ")}: a second look writes nothing`);
      assert.deepEqual(secrets.distrust(), [], order.join(" "));
      // A day later, and two: the next authority signs, and the lost one goes.
      for (const days of [1, 2]) {
        const [before, at] = [secrets.copy(), start + days * day + days];
        await secrets.look(at);
        assert.equal(await secrets.look(at), 0, `${order.join(" ")}: after ${days} days`);
        assert.deepEqual([secrets.distrust(), secrets.distrust(before), before.distrust(secrets)], [[], [], []]);
      }
      const { data } = secrets.kept.get(secretNames.authority) ?? assert.fail();
      const authority = decodeAuthority(data);
      assert.notEqual(authority?.current.key, undefined);
      assert.deepEqual([authority?.next, authority?.previous], [undefined, undefined]);
    }
  // Each deletion is answered by the four Secrets at most.
  assert.ok(most <= 16, `${most} writes`);
});

test("settleCertificates renews what is due while a lost authority is still trusted, once, and all trust each other", async () => {
  const secrets = await installed();
  // They are due after 60 days.
  const [lostAt, dueAt] = [start + 59.8 * day, start + 60.2 * day];
  secrets.kept.delete(secretNames.authority);
  assert.equal(await secrets.look(lostAt), 4);
  const before = secrets.copy();
  assert.equal(await secrets.look(dueAt), 3);
  assert.equal(await secrets.look(dueAt), 0);
  for (const name of leaves) assert.notEqual(secrets.pem(name).leaf, before.pem(name).leaf);
  for (const [one, other] of [
    [secrets, secrets],
    [secrets, before],
    [before, secrets],
  ] as const)
    assert.deepEqual(one.distrust(other), []);
});

test("settleCertificates makes good whatever is lost again and again before everybody has learnt of it", async () => {
  const secrets = await installed();
  for (let round = 0; round < 20; round++) {
    secrets.kept.delete(secretNames.authority);
    await secrets.look(start + round);
    secrets.kept.delete(leaves[round % leaves.length] ?? "");
    assert.ok((await secrets.look(start + round)) <= 4);
    assert.equal(await secrets.look(start + round), 0);
    assert.deepEqual(secrets.distrust(), []);
    assert.ok(splitPem(secrets.pem(secretNames.agent).bundle).length <= 9);
  }
});

test("settleCertificates takes a key that is another's for a lost one", async () => {
  const [secrets, others] = [await installed(), await installed()];
  const { data } = secrets.kept.get(secretNames.authority) ?? assert.fail();
  const key = others.kept.get(secretNames.authority)?.data["tls.key"] ?? assert.fail();
  const before = secrets.pem(secretNames.daemon).leaf;
  secrets.kept.set(secretNames.authority, { data: { ...data, "tls.key": key } });
  secrets.kept.delete(secretNames.agent);
  assert.equal(await secrets.look(), 4);
  assert.equal(await secrets.look(), 0);
  assert.equal(secrets.pem(secretNames.daemon).leaf, before);
  assert.deepEqual(secrets.distrust(), []);
});

test("settleCertificates leaves alone what others put beside the authority, and says of an edit that it is one", async () => {
  const secrets = await installed();
  const { data } = secrets.kept.get(secretNames.authority) ?? assert.fail();
  secrets.kept.set(secretNames.authority, { data: { ...data, foreign: "dGhlaXJz" } });
  assert.equal(await secrets.look(), 0);
  secrets.kept.set(secretNames.authority, { data: { ...data, "ca.crt": "" } });
  assert.equal(await secrets.look(), 1);
  assert.equal(secrets.written.at(-1), `${secretNames.authority}: it was edited`);
  assert.deepEqual(secrets.kept.get(secretNames.authority), { data });
  await secrets.look(start + 600 * day);
  assert.ok(secrets.written.includes(`${secretNames.authority}: its time has come`));
});

for (const days of [70, 500, 800])
  for (const looks of [1, 3])
    test(`settleCertificates leaves only what holds now when the clock was ${days} days ahead for ${looks} of its looks`, async () => {
      const secrets = await installed();
      for (let look = 0; look < looks; look++) await secrets.look(start + (days + 2 * look) * day);
      assert.ok(secrets.written.length > 4);
      await secrets.look(start + day);
      const authority = decodeAuthority(secrets.kept.get(secretNames.authority)?.data) ?? assert.fail();
      const signing = [authority.current, authority.next].flatMap((each) => (each === undefined ? [] : [each]));
      for (const pem of [
        ...signing.map(({ certificate }) => certificate),
        ...leaves.map((name) => secrets.pem(name).leaf),
      ]) {
        const { validFromDate, validToDate } = new X509Certificate(pem);
        assert.ok(validFromDate.getTime() <= start + day, `it holds from ${validFromDate.toISOString()}`);
        assert.ok(validToDate.getTime() > start + 2 * day, `it holds to ${validToDate.toISOString()}`);
      }
      assert.deepEqual(secrets.distrust(), []);
      assert.equal(await secrets.look(start + day), 0);
      // Whatever was begun ahead of time ends in time.
      await secrets.look(start + 3 * day);
      await secrets.look(start + 5 * day);
      const { next, previous } = decodeAuthority(secrets.kept.get(secretNames.authority)?.data) ?? assert.fail();
      assert.deepEqual([next, previous], [undefined, undefined]);
      assert.deepEqual(secrets.distrust(), []);
    });

test("settleCertificates changes nothing when the clock was ahead by a day or is behind by one", async () => {
  const secrets = await installed();
  for (const at of [start + day, start, start - day]) assert.equal(await secrets.look(at), 0);
});

test("settleCertificates takes nothing for early because its own clock is far behind", async () => {
  const secrets = await installed();
  for (const days of [3, 100, 10_000]) assert.equal(await secrets.look(start - days * day), 0);
  // Where that of the API server is behind too, nobody can tell.
  secrets.otherNow = start - 100 * day;
  assert.equal(await secrets.look(start - 100 * day), 4);
  assert.deepEqual(secrets.distrust(), []);
});

test("settleCertificates does not wait for a next authority that was made ahead of time while the key is lost", async () => {
  const secrets = await installed();
  secrets.kept.delete(secretNames.authority);
  await secrets.look(start + 40 * day);
  await secrets.look(start);
  const { current, next } = decodeAuthority(secrets.kept.get(secretNames.authority)?.data) ?? assert.fail();
  assert.equal(current.key, undefined);
  assert.ok(new X509Certificate(next?.certificate ?? assert.fail()).validFromDate.getTime() <= start);
  await secrets.look(start + 1.1 * day);
  assert.notEqual(decodeAuthority(secrets.kept.get(secretNames.authority)?.data)?.current.key, undefined);
  assert.deepEqual(secrets.distrust(), []);
});
