import { styleText } from "node:util";
import type { EditAdvice } from "@bpfleet/agent";
import type { Explanation, ExplainStep } from "@bpfleet/daemon/client";
import { renderRef, type Origin } from "@bpfleet/base";
import { renderPath } from "@bpfleet/kinds";
import { renderSummary, summarizePacket } from "../packet/describe-packet.ts";

export interface ExplainedPacket {
  readonly frame: Uint8Array;
  /** In the order of the hooks; the last one decides. */
  readonly explanations: readonly Explanation[];
  /** What would let it through, where policies drop it. */
  readonly advice?: EditAdvice | undefined;
}

export function renderExplained(packets: readonly ExplainedPacket[], hasColor: boolean): string {
  const texts = packets.map((packet) => renderPacket(packet, hasColor));
  if (packets.length === 1) return texts.join("");
  const dropped = packets.filter((packet) => !passes(packet)).length;
  return `${texts.join("\n")}\n${packets.length} packets: ${packets.length - dropped} pass, ${dropped} dropped\n`;
}

export function packetJson(packet: ExplainedPacket): object {
  return {
    packet: { ...summarizePacket(packet.frame, "ethernet"), lengthBytes: packet.frame.length },
    verdict: passes(packet) ? "pass" : "drop",
    hooks: packet.explanations,
    ...(packet.advice !== undefined && { smallestEdit: packet.advice }),
  };
}

function passes({ explanations }: ExplainedPacket): boolean {
  return explanations.every((explanation) => explanation.passes);
}

function renderPacket(packet: ExplainedPacket, hasColor: boolean): string {
  const paint = (style: "red" | "green" | "bold", text: string) =>
    hasColor ? styleText(style, text, { validateStream: false }) : text;
  const lines = [`${renderSummary(summarizePacket(packet.frame, "ethernet"))}, ${packet.frame.length} bytes`];
  for (const explanation of packet.explanations) {
    lines.push(`  ${explanation.hook}`);
    for (const step of explanation.steps) lines.push(...renderStep(step));
    if (explanation.notInForce !== undefined)
      lines.push(
        `    ${paint("red", "this is not in force")}: ${explanation.notInForce}; what was there before decides, if anything`,
      );
  }
  const last = packet.explanations.at(-1);
  const isPassed = passes(packet);
  lines.push(
    `verdict: ${paint(isPassed ? "green" : "red", isPassed ? "pass" : "drop")}${last === undefined ? "" : ` (${last.verdictName})`}`,
  );
  if (packet.advice !== undefined) lines.push(...renderAdvice(packet.advice));
  return `${lines.join("\n")}\n`;
}

export function renderAdvice(advice: EditAdvice): readonly string[] {
  if (!advice.found) return [`no edit is proposed: ${advice.why}`];
  const { object, path, position, yaml, alsoAllows } = advice;
  const shown = alsoAllows.slice(0, 5).join(", ");
  const more = alsoAllows.length > 5 ? ` and ${alsoAllows.length - 5} more` : "";
  return [
    `the smallest edit that lets it through: add to ${renderOrigin({ object, path, position })}`,
    ...yaml
      .trimEnd()
      .split("\n")
      .map((line) => `  + ${line}`),
    alsoAllows.length === 0
      ? "nothing else that is known to this node would pass by it"
      : `it would let pass besides: ${shown}${more}`,
    ...renderBehind(advice),
  ];
}

function renderBehind({ behind, otherBackendsDropped }: EditAdvice & { readonly found: true }): readonly string[] {
  if (behind === undefined) return [];
  const about = `it is about back end ${behind.backend}, to which ${behind.service} (${behind.at}) sends this packet`;
  if (otherBackendsDropped === undefined) return [about];
  const shown = otherBackendsDropped.slice(0, 5).join(", ");
  const more = otherBackendsDropped.length > 5 ? ` and ${otherBackendsDropped.length - 5} more` : "";
  const rest = shown === "" ? "none of them would be dropped" : `${shown}${more} would still be dropped`;
  return [about, `the Service's other back ends are judged by themselves: ${rest}`];
}

function renderStep(step: ExplainStep): readonly string[] {
  const who = step.owner === undefined ? step.program : renderRef(step.owner);
  const lines = [`    ${who}: ${step.verdictName}${step.proceeds ? ", the next one decides" : ""}`];
  if (step.decision === undefined) return lines;
  lines.push(`      ${step.decision.text}`);
  const { rule, isolatedBy = [] } = step.decision;
  for (const origin of isolatedBy) lines.push(`      isolated by ${renderOrigin(origin)}`);
  if (rule !== undefined) lines.push(`      rule ${rule.text}: ${renderOrigin(rule.origin)}`);
  return lines;
}

/** `EBPFProgram default/edge spec.settings.blacklist.ips[1], /home/me/edge.yaml:13` */
export function renderOrigin({ object, path, position }: Origin): string {
  const place = position === undefined ? "" : `, ${position.file}:${position.line}`;
  return `${renderRef(object)}${path === "" ? "" : ` ${renderPath(path)}`}${place}`;
}
