import { create } from "@bufbuild/protobuf";
import { FrameSchema, StepSchema, type Frame, type Step } from "../generated/plan_pb.ts";
import { outlineFingerprint, type Hash, type Outline } from "./outline.ts";

/** One item of a document, ready to be sent. */
export interface OutgoingItem {
  readonly section: string;
  /** Unique in its section. */
  readonly key: string;
  /** `hash` of the body. */
  readonly fingerprint: string;
  readonly body: Uint8Array;
}

/** Of bodies in one frame; messages stay well below any limit. */
const frameBytes = 128 * 1024;
/** What a step takes beside its body and its keys. */
const stepBytes = 32;

/**
 * What leads from the document that `base` is the outline of to these items, in frames of limited size, at least one.
 * Without a base it is the whole document. Bodies of items that are the same are not sent.
 */
export function* encodeDifference(
  base: Outline | undefined,
  items: readonly OutgoingItem[],
  hash: Hash,
): Generator<Frame> {
  const result = outlineFingerprint(outlineOf(items), hash);
  const first = base === undefined ? "" : outlineFingerprint(base, hash);
  let steps: Step[] = [];
  let bytes = 0;
  for (const step of stepsOf(base ?? new Map(), items)) {
    const size = sizeOf(step);
    if (steps.length > 0 && bytes + size > frameBytes) {
      yield create(FrameSchema, { base: first, steps });
      steps = [];
      bytes = 0;
    }
    steps.push(step);
    bytes += size;
  }
  yield create(FrameSchema, { base: first, steps, result });
}

export function outlineOf(items: readonly OutgoingItem[]): Outline {
  const outline = new Map<string, Map<string, string>>();
  for (const { section, key, fingerprint } of items) {
    const there = outline.get(section);
    if (there === undefined) outline.set(section, new Map([[key, fingerprint]]));
    else if (there.has(key)) throw new RangeError(`encode ${section}: two items have the key ${key}`);
    else there.set(key, fingerprint);
  }
  return outline;
}

function* stepsOf(base: Outline, items: readonly OutgoingItem[]): Generator<Step> {
  const bySection = Map.groupBy(items, ({ section }) => section);
  for (const [section, before] of base) {
    const now = bySection.get(section) ?? [];
    const kept = keptKeys(before, now);
    for (const key of before.keys()) if (!kept.has(key)) yield removal(section, key);
  }
  for (const [section, now] of bySection) {
    const before = base.get(section) ?? new Map<string, string>();
    const kept = keptKeys(before, now);
    const lastKept = now.findLastIndex(({ key }) => kept.has(key));
    let previous = "";
    for (const [at, item] of now.entries()) {
      const { key, fingerprint } = item;
      if (!kept.has(key)) yield* put(item, at > lastKept ? undefined : previous);
      else if (before.get(key) !== fingerprint) yield* put(item, undefined);
      previous = key;
    }
  }
}

/** Those that stay where they are; where the order of those that stay is another one, none does. */
function keptKeys(before: ReadonlyMap<string, string>, now: readonly OutgoingItem[]): ReadonlySet<string> {
  const keys = new Set(now.map(({ key }) => key));
  const kept = [...before.keys()].filter((key) => keys.has(key));
  const inOrder = now.filter(({ key }) => before.has(key));
  return new Set(kept.every((key, at) => inOrder[at]?.key === key) ? kept : []);
}

function removal(section: string, key: string): Step {
  return create(StepSchema, { step: { case: "removal", value: { section, key } } });
}

function* put({ section, key, body }: OutgoingItem, after: string | undefined): Generator<Step> {
  const value = { section, key, sizeBytes: body.length, body: body.subarray(0, frameBytes) };
  yield create(StepSchema, { step: { case: "put", value: after === undefined ? value : { ...value, after } } });
  for (let at = frameBytes; at < body.length; at += frameBytes)
    yield create(StepSchema, { step: { case: "more", value: body.subarray(at, at + frameBytes) } });
}

function sizeOf({ step }: Step): number {
  switch (step.case) {
    case "put":
      return stepBytes + step.value.key.length + (step.value.after?.length ?? 0) + step.value.body.length;
    case "removal":
      return stepBytes + step.value.key.length;
    case "more":
      return stepBytes + step.value.length;
    case undefined:
      return stepBytes;
  }
}
