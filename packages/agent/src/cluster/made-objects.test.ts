import assert from "node:assert/strict";
import { test } from "node:test";
import { findKind, nameLabelValue, nodeLabel, type DefinedKind } from "@bpfleet/kinds";
import { refusal, type AnyObject } from "@bpfleet/kube";
import type { EventQuery, KubeClient } from "@bpfleet/kube-client";
import type { ObjectReport } from "../report.ts";
import { MadeObjects, type MadeFate } from "./made-objects.ts";
import { resultsOfReports, unwrittenOf } from "./node-results.ts";

const apiVersion = "bpfd.io/v1alpha1";

/** A server with these programs, which refuses those of some names. */
class FakeServer {
  readonly there: AnyObject[];
  readonly refuses = new Set<string>();
  readonly wrote: string[] = [];

  constructor(...names: readonly string[]) {
    this.there = names.map((name) => ({
      apiVersion,
      kind: "BpfProgram",
      metadata: { name, uid: name, resourceVersion: "1", labels: { [nodeLabel]: nameLabelValue("n1") } },
    }));
  }

  get client(): KubeClient {
    const answer = (verb: string, { name = "" }: { readonly name?: string }, object: unknown): unknown => {
      if (this.refuses.has(name)) throw refusal(`${verb} bpfprograms.bpfd.io ${name}`, 422, {});
      this.wrote.push(`${verb} ${name}`);
      return object;
    };
    const known: Partial<Record<keyof KubeClient, unknown>> = {
      readEvents: async (_address: unknown, { signal, onOpen, onEvent }: EventQuery<AnyObject>) => {
        onOpen?.();
        for (const object of this.there) onEvent("ADDED", object);
        const annotations = { "k8s.io/initial-events-end": "true" };
        const metadata = { name: "", resourceVersion: "1", annotations };
        onEvent("BOOKMARK", { apiVersion, kind: "BpfProgram", metadata });
        await new Promise((resolve) => signal?.addEventListener("abort", resolve));
        return "server";
      },
      apply: async (address: { readonly name: string }, object: AnyObject) =>
        answer("apply", address, { ...object, metadata: { ...object.metadata, resourceVersion: "2" } }),
      applyStatus: async (address: { readonly name: string }, object: AnyObject) =>
        answer("status", address, { ...object, metadata: { ...object.metadata, resourceVersion: "3" } }),
      delete: async (address: { readonly name: string }) => answer("delete", address, true),
    };
    return known as unknown as KubeClient;
  }
}

function kindOf(name: string): DefinedKind {
  const kind = findKind(apiVersion, name);
  assert.ok(kind !== undefined);
  return kind;
}

function report(name: string): ObjectReport {
  const object = { apiVersion, kind: "BpfProgram", metadata: { name: `${name}-n1` }, spec: {}, status: { x: 1 } };
  return {
    ref: { group: "bpfd.io", kind: "BpfProgram", namespace: "", name: `${name}-n1` },
    object,
    state: "in-force",
    messages: [],
    events: [],
    madeFrom: { group: "bpfd.io", kind: "BpfProgramConfig", namespace: "", name },
  };
}

function config(name: string): ObjectReport {
  const { madeFrom: ref, ref: _ref, ...rest } = report(name);
  assert.ok(ref !== undefined);
  return { ...rest, ref, object: { apiVersion, kind: "BpfProgramConfig", metadata: { name } } };
}

async function follow(server: FakeServer): Promise<MadeObjects> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const made = new MadeObjects({
    client: server.client,
    nodeName: "n1",
    kinds: [kindOf("BpfProgram")],
    onChange: resolve,
    onNotice: assert.fail,
  });
  made.followMadeOf(kindOf("BpfProgramConfig"));
  await promise;
  return made;
}

test("MadeObjects makes and removes the others where the server refuses one, and tells of it", async () => {
  const server = new FakeServer("held-n1", "left-n1");
  server.refuses.add("bad-n1").add("held-n1");
  await using made = await follow(server);
  const reports = [report("bad"), report("good")];
  const fates = (): readonly MadeFate[] => reports.map((each) => made.fateOf(each));
  assert.deepEqual(fates(), ["due", "due"]);
  await assert.rejects(made.sync(reports, true), /bad-n1: Invalid \(422\)/);
  assert.deepEqual(server.wrote, ["apply good-n1", "status good-n1", "delete left-n1"]);
  assert.deepEqual(fates(), [{ refusal: "apply bpfprograms.bpfd.io bad-n1: Invalid (422)" }, "there"]);
  server.refuses.clear();
  await made.sync(reports, false);
  assert.deepEqual(fates(), ["there", "there"]);
});

test("resultsOfReports has no config in force whose program could not be written, and says what was said", async () => {
  const server = new FakeServer();
  await using made = await follow(server);
  const reports = [config("bad"), config("good"), report("bad"), report("good")];
  const told = () =>
    resultsOfReports(
      reports,
      unwrittenOf(reports, (each) => made.fateOf(each)),
    ).map(({ name, state, conditions }) => [name, state, ...conditions.map(({ message }) => message)]);
  assert.deepEqual(told(), [
    ["bad", "Pending"],
    ["good", "Pending"],
  ]);
  server.refuses.add("bad-n1");
  await assert.rejects(made.sync(reports, true));
  assert.deepEqual(told(), [
    ["bad", "Failed", "apply bpfprograms.bpfd.io bad-n1: Invalid (422)"],
    ["good", "InForce"],
  ]);
});
