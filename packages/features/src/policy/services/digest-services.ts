import { Digest } from "../compile/digest.ts";
import type { ServiceTablePort } from "./service-table.ts";

/** Of everything that the table says. */
export function serialOfServices(ports: readonly ServiceTablePort[]): bigint {
  const digest = new Digest();
  for (const { id, places, protocol, affinitySeconds = 0, backends } of ports) {
    digest.add(Number(id >> 32n));
    digest.add(Number(id & 0xffff_ffffn));
    digest.add(protocol);
    digest.add(affinitySeconds);
    for (const words of [places, backends]) {
      digest.add(words.length);
      for (let at = 0; at < words.length; at++) digest.add(words[at] ?? 0);
    }
  }
  return digest.value;
}

/** The same wherever it is told of. */
export function idOfPort(parts: readonly string[]): bigint {
  const digest = new Digest();
  for (const part of parts) digest.addText(part);
  return digest.value;
}
