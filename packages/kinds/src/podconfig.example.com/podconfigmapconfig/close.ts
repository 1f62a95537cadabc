import type { Closing, RefusedObject } from "../../kind.ts";
import {
  closeRefused,
  fieldsOf,
  hasItems,
  isAbsent,
  readSelector,
  type ClosedPart,
  type Closure,
} from "../../policy/close-refused.ts";
import { labelsOf } from "../../policy/requirements.ts";

/** Where its firewall may block a port, every one is. */
export function closePodConfig(refused: RefusedObject): Closing {
  const spec = fieldsOf(refused.object, "spec");
  const part: ClosedPart = {
    path: "/spec/ebpfConfig/l4Firewall",
    where: readSelector(spec?.["podSelector"], labelsOf("pod")).where,
    ingress: spec === undefined ? "denied" : closureOf(spec),
    egress: "open",
  };
  return closeRefused(refused, { tier: "l4" }, [part]);
}

function closureOf(spec: Readonly<Record<string, unknown>>): Closure {
  if (isAbsent(spec["ebpfConfig"])) return "open";
  const config = fieldsOf(spec, "ebpfConfig");
  if (config === undefined) return "denied";
  if (isAbsent(config["l4Firewall"])) return "open";
  const firewall = fieldsOf(config, "l4Firewall");
  if (firewall === undefined) return "denied";
  const { enabled, defaultAction, blockedPorts } = firewall;
  if (enabled === false) return "open";
  return defaultAction !== "allow" || hasItems(blockedPorts) ? "denied" : "open";
}
