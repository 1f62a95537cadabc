import { refKey, type ObjectRef, type Position } from "@bpfleet/base";
import type { Opening } from "@bpfleet/features";
import { renderYaml, type PatchStep } from "@bpfleet/kinds";
import type { AcceptedObject } from "../compile.ts";
import { judgedPacket, renderPlace, type BehindService } from "./behind-service.ts";
import { questionOf, type DroppedPacket } from "./dropped-packet.ts";
import { EditSearch, type EditWorld } from "./edit-search.ts";
import { EditTable } from "./edit-table.ts";
import { placeBefore, renderDenial, type Denial, type Search, type TriedEdit } from "./tried-edit.ts";
import { policyIntents } from "./who-is.ts";

/** One change of one object. */
export interface ProposedEdit {
  readonly object: ObjectRef;
  readonly does: "add" | "add-before" | "take-out";
  /** JSON pointer of what grows or shrinks, or of the item before which one is added; and where that, or what goes, is written. */
  readonly path: string;
  readonly position?: Position | undefined;
  /** What comes or goes, as YAML. */
  readonly yaml: string;
  /** The same as a JSON patch, of the object as the edits before this one leave it. */
  readonly patch: readonly PatchStep[];
}

/** What would let a dropped packet through; or why nothing is proposed. */
export type EditAdvice =
  | (ProposedEdit & {
      readonly found: true;
      /** It passes only with these too. */
      readonly and?: readonly ProposedEdit[] | undefined;
      /** What else would pass that is dropped now; nothing that is known where it is empty. */
      readonly alsoAllows: readonly string[];
      /** The edit is about this back end only. */
      readonly behind?: BehindService | undefined;
      /** Of its other back ends those that are dropped still; absent where there is no other one. */
      readonly otherBackendsDropped?: readonly string[] | undefined;
    })
  | { readonly found: false; readonly why: string };

/** More than these together are no small edit. */
const mostEdits = 3;

/** Each candidate is compiled with all that is declared, and judged, before it is proposed. */
export function* findSmallestEdit(dropped: DroppedPacket, world: EditWorld): Search<EditAdvice> {
  const { objects, facts } = world;
  const no = (why: string): EditAdvice => ({ found: false, why });
  const intents = world.lower(objects);
  const sent = judgedPacket(dropped, policyIntents(intents), facts);
  if ("why" in sent) return no(sent.why);
  const { packet, behind, others } = sent;
  const now = new EditTable(intents, world, packet);
  if (now.judge(questionOf(packet)).verdict === "pass")
    return no("the policies would let it open a connection; what drops it is not that no rule allows it");
  const search = new EditSearch(packet, world, now);
  const edits: TriedEdit[] = [];
  let passes = false;
  while (!passes) {
    const denials = edits.map(({ denial }) => denial);
    if (edits.length === mostEdits)
      return no(
        `${deniedBy([...denials, search.denialAfter(edits)])}: after ${mostEdits} edits it would still be dropped`,
      );
    const next = yield* search.next(edits);
    if ("why" in next) return no(denials.some(Boolean) ? `${deniedBy(denials)}; without that, ${next.why}` : next.why);
    edits.push(next);
    passes = next.passes;
  }
  const [first, ...more] = edits.map((each, index) => propose(each, edits.slice(0, index), objects));
  const last = edits.at(-1);
  if (first === undefined || last === undefined)
    throw new RangeError("a packet that is dropped passes without an edit");
  return {
    found: true,
    ...first,
    ...(more.length > 0 && { and: more }),
    alsoAllows: last.also(),
    ...(behind !== undefined && { behind }),
    ...(others.length > 0 && { otherBackendsDropped: droppedOf(others, last.table, packet) }),
  };
}

function deniedBy(denials: readonly (Denial | undefined)[]): string {
  const rules = denials.flatMap((each) => (each === undefined ? [] : [renderDenial(each)]));
  return `${rules.join(" and ")} ${rules.length === 1 ? "denies" : "deny"} it`;
}

function propose(
  { edit, accepted }: TriedEdit,
  before: readonly TriedEdit[],
  objects: readonly AcceptedObject[],
): ProposedEdit {
  const { ref } = accepted.parsed;
  const written = objects.find(({ parsed }) => refKey(parsed.ref) === refKey(ref));
  const positionOf = (path: string): Position | undefined => written?.parsed.positionOf(path);
  const path = placeBefore(edit.path, ref, before);
  const place = edit.patch.op === "remove" ? placeBefore(edit.patch.path, ref, before) : path;
  return {
    object: ref,
    does: edit.does,
    path,
    position: positionOf(place) ?? positionOf(place.slice(0, place.lastIndexOf("/"))),
    yaml: renderYaml(edit.written),
    patch: [edit.patch],
  };
}

function droppedOf(openings: readonly Opening[], table: EditTable, packet: DroppedPacket): readonly string[] {
  return openings
    .filter((opening) => table.judge(questionOf({ ...packet, opening })).verdict === "drop")
    .map(({ destination, port }) => renderPlace(destination, port));
}
