import type { EditAdvice, ProposedEdit } from "@bpfleet/agent";
import { renderOrigin } from "./render-origin.ts";

type Found = EditAdvice & { readonly found: true };

export function renderAdvice(advice: EditAdvice): readonly string[] {
  if (!advice.found) return [`no edit is proposed: ${advice.why}`];
  const { alsoAllows, and = [] } = advice;
  const shown = alsoAllows.slice(0, 5).join(", ");
  const more = alsoAllows.length > 5 ? ` and ${alsoAllows.length - 5} more` : "";
  const [first = "", ...lines] = renderEdit(advice);
  const what =
    and.length === 0
      ? "the smallest edit that lets it through"
      : `the ${and.length + 1} smallest edits that together let it through`;
  return [
    `${what}: ${first}`,
    ...lines,
    ...and.flatMap((edit) => {
      const [next = "", ...written] = renderEdit(edit);
      return [`and ${next}`, ...written];
    }),
    alsoAllows.length === 0
      ? "nothing else that is known to this node would pass by it"
      : `it would let pass besides: ${shown}${more}`,
    ...renderBehind(advice),
  ];
}

const verbs = { add: "add to", "add-before": "add before", "take-out": "take out of" } as const;

function renderEdit({ object, path, position, yaml, does }: ProposedEdit): readonly string[] {
  const sign = does === "take-out" ? "-" : "+";
  const lines = yaml.trimEnd().split("\n");
  return [`${verbs[does]} ${renderOrigin({ object, path, position })}`, ...lines.map((line) => `  ${sign} ${line}`)];
}

function renderBehind({ behind, otherBackendsDropped }: Found): readonly string[] {
  if (behind === undefined) return [];
  const about = `it is about back end ${behind.backend}, to which ${behind.service} (${behind.at}) sends this packet`;
  if (otherBackendsDropped === undefined) return [about];
  const shown = otherBackendsDropped.slice(0, 5).join(", ");
  const more = otherBackendsDropped.length > 5 ? ` and ${otherBackendsDropped.length - 5} more` : "";
  const rest = shown === "" ? "none of them would be dropped" : `${shown}${more} would still be dropped`;
  return [about, `the Service's other back ends are judged by themselves: ${rest}`];
}
