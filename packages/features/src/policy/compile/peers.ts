import type { Entity, NamePattern, Peer, PortProtocol, Requirement } from "../policy.ts";
import { keyOfPrefix, type AddressKey } from "./address-key.ts";

export interface KeyedPrefix {
  readonly key: AddressKey;
  readonly length: number;
}

/** Who is meant, as far as compiling tells peers apart. */
export type PeerMeaning =
  | { readonly is: "pods" | "nodes"; readonly where: readonly Requirement[] }
  | { readonly is: "entity"; readonly entity: ServedEntity }
  | {
      readonly is: "addresses";
      readonly prefix: KeyedPrefix;
      readonly except: readonly KeyedPrefix[];
      readonly ofWorld: boolean;
    }
  | {
      readonly is: "services";
      readonly namespace: string | undefined;
      readonly name: string | undefined;
      readonly where: readonly Requirement[];
    }
  /** Pods with a port of this name and number. */
  | { readonly is: "port"; readonly port: string }
  /** Whom answers of DNS have called so. */
  | { readonly is: "name"; readonly pattern: NamePattern };

/** Those that somebody is; `all` is everybody. */
export type ServedEntity = Exclude<
  Entity,
  "all" | "none" | "init" | "ingress" | "unmanaged" | "health" | "cluster-mesh" | "kube-apiserver"
>;

export interface NumberedPeer {
  readonly id: number;
  readonly meaning: PeerMeaning;
  /**
   * An address that several claim is one of theirs only if all of them are meant (for rules that allow), or if one
   * of them is (for rules that deny).
   */
  readonly needsAll: boolean;
}

export type ReadPeer = "everybody" | "nobody" | PeerMeaning;

export function readPeer(peer: Peer): ReadPeer {
  switch (peer.peer) {
    case "pods":
    case "nodes":
      return { is: peer.peer, where: peer.where };
    case "entity":
      return readEntity(peer.entity);
    case "addresses":
      return {
        is: "addresses",
        prefix: keyed(peer.prefix),
        except: peer.except.map(keyed),
        ofWorld: peer.matches === "world",
      };
    case "service":
      return { is: "services", namespace: peer.namespace, name: peer.name, where: [] };
    case "services":
      return { is: "services", namespace: peer.namespace, name: undefined, where: peer.where };
    case "name":
      return { is: "name", pattern: peer.name };
  }
}

function readEntity(entity: Entity): ReadPeer {
  switch (entity) {
    case "all":
      return "everybody";
    case "none":
    case "init":
    case "ingress":
    case "unmanaged":
    case "health":
    case "cluster-mesh":
      return "nobody";
    case "kube-apiserver":
      return { is: "services", namespace: "default", name: "kubernetes", where: [] };
    default:
      return { is: "entity", entity };
  }
}

function keyed(prefix: Parameters<typeof keyOfPrefix>[0]): KeyedPrefix {
  return { key: keyOfPrefix(prefix), length: prefix.length };
}

/** Distinct peers, numbered. */
export class Peers {
  readonly #allowed = new Map<string, number>();
  readonly #denied = new Map<string, number>();
  readonly all: NumberedPeer[] = [];

  number(meaning: PeerMeaning, needsAll: boolean, key = keyOf(meaning)): number {
    const numbers = needsAll ? this.#allowed : this.#denied;
    const known = numbers.get(key);
    if (known !== undefined) return known;
    const id = this.all.length;
    numbers.set(key, id);
    this.all.push({ id, meaning, needsAll });
    return id;
  }
}

/** Equal for peers that mean the same and are written alike. */
export function keyOf(meaning: PeerMeaning): string {
  switch (meaning.is) {
    case "pods":
    case "nodes":
      return `${meaning.is}\0${keyOfRequirements(meaning.where)}`;
    case "entity":
      return `entity\0${meaning.entity}`;
    case "addresses": {
      const { prefix, except, ofWorld } = meaning;
      return `${ofWorld ? "world" : "all"}\0${[prefix, ...except].map(({ key, length }) => `${length}\0${key}`).join("\0")}`;
    }
    case "services":
      return `services\0${meaning.namespace ?? "*"}\0${meaning.name ?? "*"}\0${keyOfRequirements(meaning.where)}`;
    case "port":
      return `port\0${meaning.port}`;
    case "name":
      return `${meaning.pattern.is}\0${meaning.pattern.text}`;
  }
}

function keyOfRequirements(where: readonly Requirement[]): string {
  return where.map(({ on, key, operator, values }) => `${on}\0${key}\0${operator}\0${values.join("\0")}`).join("\0\0");
}

export function portName(protocol: PortProtocol, name: string): string {
  return `${protocol}/${name}`;
}

export function portWithNumber(protocol: PortProtocol, name: string, port: number): string {
  return `${portName(protocol, name)}=${port}`;
}
