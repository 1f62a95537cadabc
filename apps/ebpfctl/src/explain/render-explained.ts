import { styleText } from "node:util";
import type { EditAdvice } from "@bpfleet/agent";
import type { Explanation, ExplainStep } from "@bpfleet/daemon/client";
import { renderRef } from "@bpfleet/base";
import { renderSummary, summarizePacket } from "../packet/describe-packet.ts";
import { renderAdvice } from "./render-advice.ts";
import { renderOrigin } from "./render-origin.ts";

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
