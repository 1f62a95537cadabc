import { refKey, renderRef } from "@bpfleet/base";
import type { Intent, PolicyIntent } from "@bpfleet/features";
import type { NodeFacts } from "@bpfleet/kernel";
import { denialEdits, policyEdits, renderYaml, type Kind, type PolicyEdit } from "@bpfleet/kinds";
import { acceptObject, isAccepted, type AcceptedObject } from "../compile.ts";
import { allowedBesides } from "./allowed-besides.ts";
import { peerOf, questionOf, trafficOf, type DroppedPacket } from "./dropped-packet.ts";
import { EditTable, type Judged } from "./edit-table.ts";
import { placeBefore, renderDenial, type Denial, type TriedEdit } from "./tried-edit.ts";
import { unservedThatMeansIt } from "./unserved-rule.ts";
import { policyIntents, type KnownPeer } from "./who-is.ts";

export interface EditWorld {
  readonly objects: readonly AcceptedObject[];
  readonly kinds: readonly Kind[];
  readonly facts: NodeFacts;
  readonly who: ReadonlyMap<string, KnownPeer>;
  /** All of what these objects ask for. */
  lower(objects: readonly AcceptedObject[]): readonly Intent[];
}

/** So many candidates are compiled; they are few but for policies with hundreds of rules. */
const mostTried = 64;

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
  next(edits: readonly TriedEdit[]): Found {
    const denial = this.denialAfter(edits);
    return denial === undefined ? this.#addition(edits) : this.#lessOf(denial, edits);
  }

  denialAfter(edits: readonly TriedEdit[]): Denial | undefined {
    const { rule } = this.#judged(edits);
    if (rule === undefined) return undefined;
    const { object, path } = rule.origin;
    return { object, path: placeBefore(path, object, edits) };
  }

  /** Where no other edit does, one after which another rule denies it, or none allows it. */
  #lessOf(denial: Denial, edits: readonly TriedEdit[]): Found {
    const { rule } = this.#judged(edits);
    const accepted = this.#objects(edits).find(({ parsed }) => refKey(parsed.ref) === refKey(denial.object));
    const candidates =
      accepted === undefined || rule === undefined
        ? []
        : denialEdits(accepted.stored.object, rule.origin.path, this.#wish).map((edit) => ({ accepted, edit }));
    const tried = this.#try(candidates, edits, denial);
    const ended = tried.filter((each) => {
      const after = this.denialAfter([...edits, each]);
      return after === undefined || renderDenial(after) !== renderDenial(denial);
    });
    return (
      bestOf(tried.filter(({ passes }) => passes)) ??
      bestOf(this.#leastDropping(ended)) ??
      this.#allowedInstead(accepted, edits) ?? { why: `${renderDenial(denial)} denies it, whatever others allow` }
    );
  }

  /** Of an object that cannot be without its only rule: one that allows, beside which the other one can go. */
  #allowedInstead(accepted: AcceptedObject | undefined, edits: readonly TriedEdit[]): TriedEdit | undefined {
    const { carries } = this.#wish;
    const { rule } = this.#judged(edits);
    if (accepted === undefined || carries === undefined || rule === undefined) return undefined;
    const { ref, object } = accepted.parsed;
    const isAdded = ({ denial, accepted: { parsed } }: TriedEdit): boolean =>
      denial === undefined && refKey(parsed.ref) === refKey(ref);
    if (edits.some(isAdded)) return undefined;
    const spec = rule.origin.path.split("/").slice(0, -2).join("/");
    const candidates = policyEdits(object, spec, { ...this.#wish, carries }).map((edit) => ({ accepted, edit }));
    return bestOf(this.#try(candidates, edits));
  }

  /** Where no other one does, one after which fewer tiers drop it. */
  #addition(edits: readonly TriedEdit[]): Found {
    const objects = this.#objects(edits);
    const { carries } = this.#wish;
    if (carries === undefined)
      return { why: "rules name TCP, UDP and SCTP ports and ICMP types, and this is something else" };
    const unserved = unservedThatMeansIt(this.#packet, this.#world.lower(objects), this.#world.facts);
    if (unserved !== undefined) return { why: unserved };
    const { isolating } = edits.at(-1)?.table ?? this.#now;
    const byRef = new Map(objects.map((object) => [refKey(object.parsed.ref), object]));
    const candidates = isolating.flatMap(({ object, path }) => {
      const accepted = byRef.get(refKey(object));
      if (accepted === undefined) return [];
      return policyEdits(accepted.parsed.object, path, { ...this.#wish, carries }).map((edit) => ({ accepted, edit }));
    });
    const tried = this.#try(candidates, edits);
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
      const table = new EditTable(own, this.#world.facts, this.#packet);
      return table.judge(questionOf(this.#packet)).verdict === "drop";
    }).length;
  }

  #judged(edits: readonly TriedEdit[]): Judged {
    return (edits.at(-1)?.table ?? this.#now).judge(questionOf(this.#packet));
  }

  #objects(edits: readonly TriedEdit[]): readonly AcceptedObject[] {
    return edits.at(-1)?.objects ?? this.#world.objects;
  }

  #try(candidates: readonly Candidate[], edits: readonly TriedEdit[], denial?: Denial): readonly TriedEdit[] {
    const { kinds, facts, who } = this.#world;
    const packet = this.#packet;
    const before = this.#objects(edits);
    const now = candidates.slice(0, this.#left);
    this.#left -= now.length;
    return now.flatMap(({ accepted, edit }) => {
      const edited = acceptObject({ ...accepted.stored, object: edit.object }, kinds);
      if (!isAccepted(edited)) return [];
      const objects = before.map((each) => (each === accepted ? edited : each));
      const table = new EditTable(this.#world.lower(objects), facts, packet);
      const passes = table.judge(questionOf(packet)).verdict === "pass";
      const named = [accepted.stored.object, edit.object];
      const also = allowedBesides(this.#now, table, packet, who, named);
      return [{ edit, accepted, objects, table, passes, also, denial }];
    });
  }
}

/** By which least else passes, then the shortest. */
function bestOf(tried: readonly TriedEdit[]): TriedEdit | undefined {
  const lines = ({ edit }: TriedEdit): number => renderYaml(edit.written).split("\n").length;
  return tried.toSorted((a, b) => a.also.length - b.also.length || lines(a) - lines(b))[0];
}
