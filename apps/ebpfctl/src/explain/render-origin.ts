import { renderRef, type Origin } from "@bpfleet/base";
import { renderPath } from "@bpfleet/kinds";

/** `EBPFProgram default/edge spec.settings.blacklist.ips[1], /home/me/edge.yaml:13` */
export function renderOrigin({ object, path, position }: Origin): string {
  const place = position === undefined ? "" : `, ${position.file}:${position.line}`;
  return `${renderRef(object)}${path === "" ? "" : ` ${renderPath(path)}`}${place}`;
}
