import type { Change } from "./summarize-actions.ts";

const marks = { add: "+", replace: "~", remove: "-" } as const;

/** One line a change: `~ hook xdp/eth0: filter/default/edge/xdp`. */
export function renderChanges(changes: readonly Change[]): string {
  return changes
    .map(
      ({ change, item, key, detail }) =>
        `${marks[change]} ${item} ${key}${detail === undefined ? "" : `: ${detail}`}\n`,
    )
    .join("");
}
