import { refKey, renderRef } from "@bpfleet/base";
import type { Intent, PolicyIntent } from "@bpfleet/features";
import { denialEdits, policyEdits, renderYaml, type Kind, type PolicyEdit } from "@bpfleet/kinds";
import { acceptObject, isAccepted, type AcceptedObject } from "../compile.ts";
import { allowedBesides } from "./allowed-besides.ts";
import { peerOf, questionOf, trafficOf, type DroppedPacket } from "./dropped-packet.ts";
import { EditTable, type Judged, type TableWorld } from "./edit-table.ts";
import { placeBefore, renderDenial, type Denial, type Search, type TriedEdit } from "./tried-edit.ts";
import { unservedThatMeansIt } from "./unserved-rule.ts";
import { policyIntents, type KnownPeer } from "./who-is.ts";

export interface EditWorld extends TableWorld {
  readonly objects: readonly AcceptedObject[];
  readonly kinds: readonly Kind[];
  readonly who: ReadonlyMap<string, KnownPeer>;
  /** All of what these objects ask for. */
  lower(objects: readonly AcceptedObject[]): readonly Intent[];
}

/** So many candidates are compiled with all that is declared. */
const mostTried = 64;
/** So many candidates of one length are looked at: a pod may be selected by very many policies. */
const mostAlike = 512;

/** Each of them must allow. */
const tiers: readonly (readonly PolicyIntent["tier"][])[] = [["policy", "fallback"], ["container"], ["l4"]];

interface Candidate {
  readonly accepted: AcceptedObject;
  readonly edit: PolicyEdit;
}

type Found = TriedEdit | { readonly why: string };

/** Looks for edits, one after the other, until a packet passes. */
export class EditSearch {
  readonly #packet: DroppedPacket;
  readonly #world: EditWorld;
  readonly #now: EditTable;
  /** What edits are about. */
  readonly #wish: Parameters<typeof denialEdits>[2];
  #left = mostTried;

  /** `now`: what holds without any edit. */
  constructor(packet: DroppedPacket, world: EditWorld, now: EditTable) {
    this.#packet = packet;
    this.#world = world;
    this.#now = now;
    this.#wish = { direction: packet.direction, peer: peerOf(packet, world.who), carries: trafficOf(packet.opening) };
  }

  /** The best one after these, after which the packet is dropped still. */
  *next(edits: readonly TriedEdit[]): Search<Found> {
    const denial = this.denialAfter(edits);
    return denial === undefined ? yield* this.#addition(edits) : yield* this.#lessOf(denial, edits);
  }

  denialAfter(edits: readonly TriedEdit[]): Denial | undefined {
    const { rule } = this.#judged(edits);
    if (rule === undefined) return undefined;
    const { object, path } = rule.origin;
    return { object, path: placeBefore(path, object, edits) };
  }

  /** Where no other edit does, one after which another rule denies it, or none allows it. */
  *#lessOf(denial: Denial, edits: readonly TriedEdit[]): Search<Found> {
    const { rule } = this.#judged(edits);
    const accepted = this.#objects(edits).find(({ parsed }) => refKey(parsed.ref) === refKey(denial.object));
    const candidates =
      accepted === undefined || rule === undefined
        ? []
        : denialEdits(accepted.stored.object, rule.origin.path, this.#wish).map((edit) => ({ accepted, edit }));
    const tried = yield* this.#try(candidates, edits, denial);
    const ended = tried.filter((each) => {
      const after = this.denialAfter([...edits, each]);
      return after === undefined || renderDenial(after) !== renderDenial(denial);
    });
    return (
      bestOf(tried.filter(({ passes }) => passes)) ??
      bestOf(this.#leastDropping(ended)) ??
      (yield* this.#allowedInstead(accepted, edits)) ?? {
        why: `${renderDenial(denial)} denies it, whatever others allow`,
      }
    );
  }

  /** Of an object that cannot be without its only rule: one that allows, beside which the other one can go. */
  *#allowedInstead(accepted: AcceptedObject | undefined, edits: readonly TriedEdit[]): Search<TriedEdit | undefined> {
    const { carries } = this.#wish;
    const { rule } = this.#judged(edits);
    if (accepted === undefined || carries === undefined || rule === undefined) return undefined;
    const { ref, object } = accepted.parsed;
    const isAdded = ({ denial, accepted: { parsed } }: TriedEdit): boolean =>
      denial === undefined && refKey(parsed.ref) === refKey(ref);
    if (edits.some(isAdded)) return undefined;
    const spec = rule.origin.path.split("/").slice(0, -2).join("/");
    const candidates = policyEdits(object, spec, { ...this.#wish, carries }).map((edit) => ({ accepted, edit }));
    return bestOf(yield* this.#try(candidates, edits));
  }

  /** Where no other one does, one after which fewer tiers drop it. */
  *#addition(edits: readonly TriedEdit[]): Search<Found> {
    const objects = this.#objects(edits);
    const { carries } = this.#wish;
    if (carries === undefined)
      return { why: "rules name TCP, UDP and SCTP ports and ICMP types, and this is something else" };
    const unserved = unservedThatMeansIt(this.#packet, this.#world.lower(objects), this.#world);
    if (unserved !== undefined) return { why: unserved };
    const { isolating } = edits.at(-1)?.table ?? this.#now;
    const byRef = new Map(objects.map((object) => [refKey(object.parsed.ref), object]));
    const candidates = isolating.flatMap(({ object, path }) => {
      const accepted = byRef.get(refKey(object));
      if (accepted === undefined) return [];
      return policyEdits(accepted.parsed.object, path, { ...this.#wish, carries }).map((edit) => ({ accepted, edit }));
    });
    const tried = yield* this.#try(yield* this.#allowingAlone(candidates, objects), edits);
    const best =
      bestOf(tried.filter(({ passes }) => passes)) ??
      bestOf(this.#leastDropping(tried, this.#droppingTiers(objects) - 1));
    if (best !== undefined) return best;
    const names = [...new Set(isolating.map(({ object }) => renderRef(object)))].join(", ");
    return {
      why:
        candidates.length === 0
          ? `${names === "" ? "nothing that is declared" : names} keeps it from passing, and no addition of one port, peer or rule is about such packets`
          : `no addition of one port, peer or rule to ${names} lets it through by itself`,
    };
  }

  #leastDropping(tried: readonly TriedEdit[], most = tiers.length): readonly TriedEdit[] {
    if (most === 0 || tried.length === 0) return [];
    const counted = tried.map((each) => ({ each, dropping: this.#droppingTiers(each.objects) }));
    const least = Math.min(most, ...counted.map(({ dropping }) => dropping));
    return counted.flatMap(({ each, dropping }) => (dropping === least ? [each] : []));
  }

  /** How many would drop it, were each of them alone. */
  #droppingTiers(objects: readonly AcceptedObject[]): number {
    const intents = policyIntents(this.#world.lower(objects));
    return tiers.filter((tier) => {
      if (!intents.some((intent) => intent.about === "policy" && tier.includes(intent.tier))) return false;
      const own = intents.filter((intent) => intent.about !== "policy" || tier.includes(intent.tier));
      const table = new EditTable(own, this.#world, this.#packet);
      return table.judge(questionOf(this.#packet)).verdict === "drop";
    }).length;
  }

  #judged(edits: readonly TriedEdit[]): Judged {
    return (edits.at(-1)?.table ?? this.#now).judge(questionOf(this.#packet));
  }

  #objects(edits: readonly TriedEdit[]): readonly AcceptedObject[] {
    return edits.at(-1)?.objects ?? this.#world.objects;
  }

  /** An addition allows nothing beside others that it does not allow alone, and alone is compiled sooner. */
  *#allowingAlone(candidates: readonly Candidate[], objects: readonly AcceptedObject[]): Search<readonly Candidate[]> {
    const found: Candidate[] = [];
    for (const candidate of shortestFirst(candidates)) {
      if (found.length === this.#left) break;
      yield;
      const { intents, ref } = this.#edited(candidate, objects) ?? {};
      const own = intents?.filter((intent) => intent.about !== "policy" || refKey(intent.policy.ref) === ref);
      if (own === undefined) continue;
      const table = new EditTable(own, this.#world, this.#packet);
      if (table.judge(questionOf(this.#packet)).verdict === "pass") found.push(candidate);
    }
    return found;
  }

  /** The shortest first, until one lets nothing else pass. */
  *#try(candidates: readonly Candidate[], edits: readonly TriedEdit[], denial?: Denial): Search<readonly TriedEdit[]> {
    const tried: TriedEdit[] = [];
    for (const candidate of shortestFirst(candidates)) {
      if (this.#left === 0) break;
      this.#left--;
      yield;
      const each = this.#tryOne(candidate, edits, denial);
      if (each === undefined) continue;
      tried.push(each);
      if (each.passes && each.also().length === 0) break;
    }
    return tried;
  }

  #tryOne(candidate: Candidate, edits: readonly TriedEdit[], denial?: Denial): TriedEdit | undefined {
    const { accepted, edit } = candidate;
    const { objects, intents } = this.#edited(candidate, this.#objects(edits)) ?? {};
    if (objects === undefined || intents === undefined) return undefined;
    const packet = this.#packet;
    const table = new EditTable(intents, this.#world, packet);
    const passes = table.judge(questionOf(packet)).verdict === "pass";
    const named = [accepted.stored.object, edit.object];
    let known: readonly string[] | undefined;
    const also = (): readonly string[] => (known ??= allowedBesides(this.#now, table, packet, this.#world.who, named));
    return { edit, accepted, objects, table, passes, also, denial };
  }

  #edited({ accepted, edit }: Candidate, before: readonly AcceptedObject[]) {
    const edited = acceptObject({ ...accepted.stored, object: edit.object }, this.#world.kinds);
    if (!isAccepted(edited)) return undefined;
    const objects = before.map((each) => (each === accepted ? edited : each));
    return { objects, intents: policyIntents(this.#world.lower(objects)), ref: refKey(accepted.parsed.ref) };
  }
}

function shortestFirst(candidates: readonly Candidate[]): readonly Candidate[] {
  const byLines = Map.groupBy(candidates, linesOf);
  const lengths = [...byLines.keys()].toSorted((a, b) => a - b);
  return lengths.flatMap((lines) => byLines.get(lines)?.slice(0, mostAlike) ?? []);
}

function linesOf({ edit }: Candidate): number {
  return renderYaml(edit.written).split("\n").length;
}

/** By which least else passes, then the shortest. */
function bestOf(tried: readonly TriedEdit[]): TriedEdit | undefined {
  return tried.toSorted((a, b) => a.also().length - b.also().length || linesOf(a) - linesOf(b))[0];
}
