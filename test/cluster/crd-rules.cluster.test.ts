import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { kinds, parseManifest } from "@bpfleet/kinds";
import type { DefinedKind, KubeObject } from "@bpfleet/kinds";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { startApiServer, type ApiServer } from "./api-server.ts";
import { dryRun, faults, objectOf, pathOf, rulesOf, schemaOf, type CrdRule, type CrdSchema } from "./compare.ts";
import { installCrds } from "./install-crds.ts";
import {
  containerPolicySpecs,
  felixSpecs,
  natPolicySpecs,
  networkPolicySpecs,
  podConfigSpecs,
  sliceChanges,
  sliceSpecs,
  trafficControlSpecs,
} from "./later-specs.ts";
import { configSpecs, mapSpecs, programSpecs, type SpecCase } from "./specs.ts";

const root = join(import.meta.dirname, "../..");
const skip = whyNoBuild();
const served = kinds.filter((kind) => kind.crd() !== undefined);
const strange = "ofTheFuture";

const specs: Readonly<Record<string, readonly SpecCase[]>> = {
  EBPFProgram: programSpecs,
  EBPFMap: mapSpecs,
  BpfProgramConfig: configSpecs,
  EbpfProgramConfig: configSpecs,
  EBPFTrafficControl: trafficControlSpecs,
  EBPFNATPolicy: natPolicySpecs,
  EBPFContainerPolicy: containerPolicySpecs,
  EBPFNetworkPolicy: networkPolicySpecs,
  PodConfigMapConfig: podConfigSpecs,
  FelixConfiguration: felixSpecs,
  AddressSlice: sliceSpecs,
};
/** Kinds of which an object needs more than a spec to be fine. */
const bodies: Readonly<Record<string, readonly object[]>> = {
  CiliumNetworkPolicy: [{}],
  CiliumClusterwideNetworkPolicy: [{}],
};
const changes = { AddressSlice: sliceChanges } as const;
let server: ApiServer | undefined;

before(async () => {
  if (skip !== undefined) return;
  server = await startApiServer(buildControlPlane());
  await installCrds(server, served);
});

after(() => server?.[Symbol.asyncDispose]());

function api(): ApiServer {
  return server ?? assert.fail("the API server does not run");
}

/** Those of which no fault speaks: at their field, and in their words. */
function unbroken(rules: readonly CrdRule[], said: readonly string[]): readonly string[] {
  const isSaid = ({ field, message }: CrdRule): boolean =>
    said.some((fault) => fault.startsWith(`${field}: `) && fault.endsWith(message));
  return rules.filter((rule) => !isSaid(rule)).map(({ field, message }) => `${field}: ${message}`);
}

test(
  "each CEL rule of each CRD is broken by an object, and the answer says the rule at its field",
  { skip },
  async () => {
    let count = 0;
    for (const kind of served) {
      const rules = rulesOf(kind).filter(({ isOfChange }) => !isOfChange);
      const objects = [
        ...(specs[kind.kind] ?? []).map(([spec]) => objectOf(kind, spec)),
        ...(bodies[kind.kind] ?? []).map((body) => ({ ...objectOf(kind, undefined), ...body })),
      ];
      if (rules.length === 0) continue;
      const said: string[] = [];
      for (const object of objects) said.push(...faults(await dryRun(api(), kind, object)));
      assert.deepEqual(unbroken(rules, said), [], `${kind.kind}: no object breaks`);
      const names = rules.map(({ field, message }) => `${field}: ${message}`);
      assert.equal(new Set(names).size, names.length, `${kind.kind}: two rules of a field say the same`);
      count += rules.length;
    }
    assert.ok(count > 100, `${count} rules`);
  },
);

test(
  "each CEL rule about changes is broken by a change, and the answer says the rule at its field",
  { skip },
  async () => {
    for (const kind of served) {
      const rules = rulesOf(kind).filter(({ isOfChange }) => isOfChange);
      const said: string[] = [];
      for (const [at, [from, to]] of (changes[kind.kind as keyof typeof changes] ?? []).entries()) {
        const name = `changes-${at}`;
        const made = await api().call("POST", pathOf(kind), objectOf(kind, from, name));
        assert.equal(made.status, 201, String(made.body["message"]));
        said.push(...faults(await api().call("PUT", pathOf(kind, `/${name}?dryRun=All`), { ...made.body, spec: to })));
      }
      assert.deepEqual(unbroken(rules, said), [], `${kind.kind}: no change breaks`);
    }
  },
);

/** The object with a field that nobody knows in each of its objects of known fields, and the names of those. */
function withStrangeFields(
  kind: DefinedKind,
  object: KubeObject,
): { readonly object: object; readonly names: string[] } {
  const names: string[] = [];
  const put = (value: unknown, schema: CrdSchema | undefined, at: string): unknown => {
    if (schema === undefined || schema["x-kubernetes-preserve-unknown-fields"] === true) return value;
    if (Array.isArray(value)) return value.map((item, index) => put(item, schema.items, `${at}[${index}]`));
    if (typeof value !== "object" || value === null) return value;
    const { properties, additionalProperties } = schema;
    const entries = typeof additionalProperties === "object" ? additionalProperties : undefined;
    const fields = Object.entries(value).map(([name, field]) => {
      const place = at === "" ? name : `${at}.${name}`;
      return [name, put(field, properties?.[name] ?? entries, place)] as const;
    });
    if (properties === undefined) return Object.fromEntries(fields);
    names.push(at === "" ? strange : `${at}.${strange}`);
    return { ...Object.fromEntries(fields), [strange]: { deep: [1] } };
  };
  const { spec, specs: rules, status } = put(object, schemaOf(kind), "") as Readonly<Record<string, unknown>>;
  const { apiVersion, metadata } = object;
  const { name, namespace } = metadata;
  const whole = { apiVersion, kind: kind.kind, metadata: { name, namespace }, spec, specs: rules, status };
  return { object: { ...whole, [strange]: 1 }, names };
}

/** Of the samples of a kind the one with the most places. */
function richest(kind: DefinedKind): ReturnType<typeof withStrangeFields> {
  const files = globSync(`packages/kinds/src/${kind.group}/${kind.singular}/samples/*.yaml`, { cwd: root });
  const samples = files
    .flatMap((file) => parseManifest(readFileSync(join(root, file), "utf8"), file).objects)
    .map(({ value }) => value as unknown as KubeObject)
    .filter((object) => object.kind === kind.kind)
    .map((object) => withStrangeFields(kind, object));
  return samples.toSorted((a, b) => b.names.length - a.names.length)[0] ?? assert.fail(`no sample of ${kind.kind}`);
}

/** What kubectl said on its error stream; fails where it did not fail. */
function refusalOf(args: readonly string[], object: object): string {
  try {
    const said = api().kubectl(args, JSON.stringify(object));
    assert.fail(`kubectl ${args.join(" ")}: ${said}`);
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
    return String((error as { readonly stderr?: unknown }).stderr);
  }
}

test("kubectl apply refuses a field that no schema knows, wherever it is, and names it", { skip }, async () => {
  for (const kind of served) {
    const { object, names } = richest(kind);
    const said = refusalOf(["apply", "-f", "-"], object);
    assert.match(said, /strict decoding error/, kind.kind);
    const told = [...said.matchAll(/unknown field "([^"]+)"/g)].map(([, name = ""]) => name);
    assert.deepEqual(told.toSorted(), names.toSorted(), `${kind.kind}: ${said}`);
    const { name } = (object as KubeObject).metadata;
    assert.equal((await api().call("GET", pathOf(kind, `/${name}`))).status, 404, `${kind.kind} is not made`);
  }
});

test("kubectl apply --validate=warn warns of each such field, and the API server leaves it out", { skip }, async () => {
  for (const kind of served) {
    const { object, names } = richest(kind);
    const said = refusalOf(["create", "--validate=warn", "--warnings-as-errors", "-f", "-"], object);
    const told = [...said.matchAll(/Warning: unknown field "([^"]+)"/g)].map(([, name = ""]) => name);
    assert.deepEqual(told.toSorted(), names.toSorted(), `${kind.kind}: ${said}`);
    const { name, namespace } = (object as KubeObject).metadata;
    const where = namespace === undefined ? [] : ["-n", namespace];
    const kept = api().kubectl(["get", `${kind.plural}.${kind.group}`, name, ...where, "-o", "json"]);
    assert.ok(!kept.includes(strange), `${kind.kind}: ${kept}`);
  }
});
