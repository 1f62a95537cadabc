import { parseAddressKey, type AddressKey } from "../compile/address-key.ts";
import { LabelIndex, type AskedKeys } from "../compile/label-index.ts";
import { keyOf, type PeerMeaning } from "../compile/peers.ts";
import type { BackendsIntent, ServiceIntent } from "../intent.ts";

interface Told {
  readonly services: readonly ServiceIntent[];
  readonly backends?: readonly BackendsIntent[] | undefined;
}

type Meaning = Extract<PeerMeaning, { readonly is: "services" }>;

/** By which addresses Services are reached: their own, and those behind them, ready or not. */
export class ServiceAddresses {
  readonly #told: Told;
  readonly #asked: AskedKeys;
  readonly #found = new Map<string, readonly AddressKey[]>();
  #labels: { readonly index: LabelIndex; readonly numbers: readonly number[] } | undefined;

  constructor(told: Told, asked: AskedKeys) {
    this.#told = told;
    this.#asked = asked;
  }

  of(meaning: Meaning): readonly AddressKey[] {
    const key = keyOf(meaning);
    let found = this.#found.get(key);
    if (found === undefined) this.#found.set(key, (found = this.#find(meaning)));
    return found;
  }

  #find({ namespace, name, where }: Meaning): readonly AddressKey[] {
    const { services, backends = [] } = this.#told;
    const isSelected = where.length === 0 ? () => true : this.#selecting(where);
    const meant = services.filter(
      (service, at) =>
        (namespace === undefined || service.namespace === namespace) &&
        (name === undefined || service.name === name) &&
        isSelected(at),
    );
    if (meant.length === 0) return [];
    const names = new Set(meant.map((service) => `${service.namespace}/${service.name}`));
    const behind = backends.filter(
      (slice) =>
        (namespace === undefined || slice.namespace === namespace) &&
        (name === undefined || slice.service === name) &&
        names.has(`${slice.namespace}/${slice.service}`),
    );
    const texts = [
      ...meant.flatMap((service) => [
        ...service.clusterAddresses,
        ...service.externalAddresses,
        ...service.closedAddresses,
      ]),
      ...behind.flatMap((slice) => slice.backends.flatMap(({ addresses }) => addresses)),
    ];
    return texts.flatMap((text) => parseAddressKey(text) ?? []);
  }

  #selecting(where: Meaning["where"]): (at: number) => boolean {
    if (this.#labels === undefined) {
      const index = new LabelIndex(this.#asked);
      const numbers = this.#told.services.map(({ labels, namespace, name }) =>
        index.add({ own: "service", labels, namespace }, `${namespace}/${name}`),
      );
      this.#labels = { index, numbers };
    }
    const { index, numbers } = this.#labels;
    const selected = new Set(index.select(where));
    return (at) => selected.has(numbers[at] ?? -1);
  }
}
