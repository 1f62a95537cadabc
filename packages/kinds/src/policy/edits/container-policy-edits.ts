import type { KubeObject } from "../../kind.ts";
import { append, listAt, type EditWish, type Fields, type PolicyEdit } from "./edit.ts";

/** Another port of a rule that lets pass, or a rule more, which is the last that is asked before the default. */
export function containerPolicyEdits(
  object: KubeObject,
  { direction, peer, carries }: EditWish,
): readonly PolicyEdit[] {
  const { networkControls = {} } = (object.spec ?? {}) as { readonly networkControls?: Fields };
  const field = `${direction}Rules`;
  const path = `/spec/networkControls/${field}`;
  const hasPort = carries.protocol === "TCP" || carries.protocol === "UDP";
  // Of other protocols nothing can be said but all or none.
  const port = hasPort ? { port: carries.port, protocol: carries.protocol } : undefined;
  const edits = listAt(networkControls, field).flatMap((rule, index) =>
    port === undefined || rule["action"] === "deny" || listAt(rule, "ports").length === 0
      ? []
      : [append(object, `${path}/${index}/ports`, port)],
  );
  const rule = { ipBlock: { cidr: peer.cidr }, ...(port !== undefined && { ports: [port] }) };
  return [...edits, append(object, path, rule)];
}
