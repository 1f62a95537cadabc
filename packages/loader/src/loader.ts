import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { refKey, type ObjectRef } from "@bpfleet/base";
import type { Agent, DirectoryStore, NodeReport, ObjectReport } from "@bpfleet/agent";
import type { KubeObject } from "@bpfleet/kinds";
import { configRef, declare, layoutOf, loadedBy, loadIdOf, secretRef, type Caller } from "./declaration.ts";
import { MessageWriter } from "./fields.ts";
import type { Layout } from "./layout.ts";
import { encodeListResponse, type ListedProgram } from "./list-response.ts";
import { readConfig } from "./listed.ts";
import { programTypes } from "./load-wish.ts";
import { parseLoadRequest, readFields } from "./load-request.ts";
import { Refusal } from "./refusal.ts";

export interface LoaderOptions {
  readonly store: Pick<DirectoryStore, "write" | "remove" | "read">;
  readonly agent: Pick<Agent, "report" | "sync">;
  /** In which layout a List is answered to a client that has loaded nothing. */
  readonly layout: Layout;
  /** How long a Load waits for its program; image and kernel included. */
  readonly timeoutMs?: number | undefined;
}

const usualTimeoutMs = 60_000;
const longestPauseMs = 500;
const uuidForm = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** bpfd's Load, Unload and List over the declarations of this node. Requests and answers are protobuf. */
export class Loader {
  readonly #options: LoaderOptions;
  readonly #layouts = new Map<string, Layout>();

  constructor(options: LoaderOptions) {
    this.#options = options;
  }

  /** Answers when the program runs; a declaration that does not come into force does not stay. */
  async load(request: Uint8Array, caller: Caller, signal?: AbortSignal): Promise<Uint8Array> {
    const { layout, wish } = parseLoadRequest(request);
    if (wish.id !== undefined && !uuidForm.test(wish.id)) throw new Refusal("invalid-argument", "invalid id");
    const id = (wish.id ?? randomUUID()).toLowerCase();
    if (wish.id !== undefined && (await this.#options.store.read(configRef(id))) !== undefined)
      throw new Refusal("aborted", `load ${id}: a program of this id is loaded already; unload it first`);
    const { config, secret } = declare(id, wish, layout, caller);
    let isDone = false;
    try {
      if (secret !== undefined) await this.#write(secretRef(id), secret);
      await this.#write(configRef(id), config);
      const uuid = await this.#untilLoaded(configRef(id), signal);
      this.#layouts.set(caller.name, layout);
      isDone = true;
      return new MessageWriter().text(1, uuid).finish();
    } finally {
      if (!isDone) await this.#remove(id);
    }
  }

  async unload(request: Uint8Array, caller: Caller): Promise<Uint8Array> {
    const id = readFields(request).text(1);
    if (!uuidForm.test(id)) throw new Refusal("invalid-argument", "invalid id");
    const report = await this.#options.agent.report();
    const config = findConfig(report, id.toLowerCase());
    if (config === undefined) throw new Refusal("aborted", "Invalid ID");
    const { object, ref } = config;
    if (!caller.isAdministrator && loadedBy(object) !== caller.name) throw new Refusal("aborted", "Not authorized");
    const loadId = loadIdOf(object);
    if (loadId === undefined)
      throw new Refusal(
        "aborted",
        `unload ${id}: ${ref.kind} ${ref.name} declares it; remove that with: ebpfctl delete ${ref.kind.toLowerCase()} ${ref.name}`,
      );
    const after = await this.#remove(loadId);
    const stuck = after.objects.find((each) => refKey(each.ref) === refKey(ref));
    if (stuck?.state === "failed")
      throw new Refusal("aborted", `unload ${id}: ${stuck.messages[0] ?? "it is still there"}`);
    return new Uint8Array();
  }

  async list(request: Uint8Array, caller: Caller): Promise<Uint8Array> {
    const fields = readFields(request);
    const asked = fields.hasVarint(1) ? programTypes[fields.int32(1)] : undefined;
    const report = await this.#options.agent.report();
    const listed = listPrograms(report).filter(({ attach }) => asked === undefined || attach.type === asked);
    return encodeListResponse(listed, this.#layoutFor(caller, report));
  }

  /** As it loaded last; after a restart, as one of its programs was loaded. */
  #layoutFor(caller: Caller, report: NodeReport): Layout {
    const own = report.objects.find(({ object }) => loadedBy(object) === caller.name);
    return (
      this.#layouts.get(caller.name) ?? (own === undefined ? undefined : layoutOf(own.object)) ?? this.#options.layout
    );
  }

  async #write(ref: ObjectRef, value: KubeObject): Promise<void> {
    const source = { file: "a Load of bpfd's API", line: 1, isRendered: true };
    await this.#options.store.write({ ref, value, text: JSON.stringify(value, undefined, 2), source });
  }

  async #remove(id: string): Promise<NodeReport> {
    await this.#options.store.remove(configRef(id));
    await this.#options.store.remove(secretRef(id));
    return this.#options.agent.sync();
  }

  async #untilLoaded(ref: ObjectRef, signal: AbortSignal | undefined): Promise<string> {
    const timeoutMs = this.#options.timeoutMs ?? usualTimeoutMs;
    const timeout = AbortSignal.timeout(timeoutMs);
    let report = await this.#options.agent.sync();
    for (let pauseMs = 10; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      const fate = fateOf(report, ref);
      if (fate.uuid !== undefined) return fate.uuid;
      if (fate.cause !== undefined) throw new Refusal("aborted", fate.cause);
      if (signal?.aborted === true) throw new Refusal("aborted", "the client did not wait for the end");
      if (timeout.aborted)
        throw new Refusal("aborted", `load: not in force after ${timeoutMs / 1000} s; ${fate.waitsFor ?? "try again"}`);
      await sleep(pauseMs);
      report = await this.#options.agent.report();
    }
  }
}

interface Fate {
  readonly uuid?: string | undefined;
  readonly cause?: string | undefined;
  readonly waitsFor?: string | undefined;
}

function fateOf(report: NodeReport, ref: ObjectRef): Fate {
  const own = report.objects.find((object) => refKey(object.ref) === refKey(ref));
  if (report.trouble !== undefined) return { cause: report.trouble };
  if (own === undefined) return { waitsFor: "the declaration was removed meanwhile" };
  const made = madeOf(report, own);
  const conditions = conditionsOf(made?.object);
  const current = conditions.at(-1)?.type;
  const [uuid] = uuidsOf(made?.object);
  if (own.state === "in-force" && current === "Loaded" && uuid !== undefined) return { uuid };
  const cause = conditions.find(({ type }) => type === "Cause")?.message ?? own.messages[0];
  if (own.state === "failed" || current === "NotLoaded" || current === "NotSelected")
    return { cause: cause ?? "the program was not loaded" };
  return { waitsFor: own.messages[0] };
}

function listPrograms(report: NodeReport): readonly ListedProgram[] {
  return report.objects.flatMap((config) => {
    const read = isConfig(config) ? readConfig(config.object) : undefined;
    if (read === undefined) return [];
    return uuidsOf(madeOf(report, config)?.object).map((id) => ({ id, ...read }));
  });
}

/** By the id of a program, or by the id that a Load was given. */
function findConfig(report: NodeReport, id: string): ObjectReport | undefined {
  return report.objects.find(
    (config) =>
      isConfig(config) && (loadIdOf(config.object) === id || uuidsOf(madeOf(report, config)?.object).includes(id)),
  );
}

function isConfig({ ref }: ObjectReport): boolean {
  return ref.group === "bpfd.io" && (ref.kind === "BpfProgramConfig" || ref.kind === "EbpfProgramConfig");
}

function madeOf(report: NodeReport, config: ObjectReport): ObjectReport | undefined {
  return report.objects.find(({ madeFrom }) => madeFrom !== undefined && refKey(madeFrom) === refKey(config.ref));
}

function uuidsOf(object: KubeObject | undefined): readonly string[] {
  const spec = object?.spec as { readonly programs?: Readonly<Record<string, unknown>> } | undefined;
  return Object.keys(spec?.programs ?? {});
}

function conditionsOf(object: KubeObject | undefined): readonly { readonly type: string; readonly message: string }[] {
  const status = object?.status as { readonly conditions?: readonly { type: string; message: string }[] } | undefined;
  return status?.conditions ?? [];
}
