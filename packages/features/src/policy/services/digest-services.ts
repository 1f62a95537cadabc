import { Digest } from "../compile/digest.ts";
import type { ServiceTablePort } from "./service-table.ts";

/** Of everything that the table says. */
export function serialOfServices(ports: readonly ServiceTablePort[]): bigint {
  const digest = new Digest();
  for (const { id, places, protocol, affinitySeconds = 0, backends } of ports) {
    digest.addAll([Number(id >> 32n), Number(id & 0xffff_ffffn), protocol, affinitySeconds]);
    for (const list of [places, backends]) {
      digest.add(list.length);
      for (const { bytes, port } of list) {
        digest.addAll(new Uint32Array(bytes.slice().buffer));
        digest.add(port);
      }
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
