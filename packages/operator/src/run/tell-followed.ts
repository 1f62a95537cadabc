import type { Followed, Happening } from "@bpfleet/kube";

/** What a new leader says of the one before: in its log, and as an event of the Lease. */
export function tellFollowed(
  identity: string,
  { because, identity: before, lastAt }: Followed,
): { readonly message: string; readonly happening: Omit<Happening, "regarding"> } {
  const name = before ?? "a leader of unknown name";
  const when = lastAt === undefined ? "" : ` at ${lastAt}`;
  const [reason, why] = {
    "there was none": ["LeaderElected", before === undefined ? "there was no lease" : `the lease of ${name} is gone`],
    own: ["LeaderRestarted", `it follows itself: its own lease was last renewed${when}`],
    released: ["LeaderReleased", `it follows ${name}, which released the lease${when}`],
    "ran out": ["LeaderLost", `it follows ${name}, which is lost: its lease ran out, last renewed${when}`],
  }[because] as [string, string];
  return {
    message: `${identity} leads: ${why}`,
    happening: {
      type: because === "ran out" ? "Warning" : "Normal",
      reason,
      action: "Lead",
      note: `${identity} leads: ${why}`,
    },
  };
}
