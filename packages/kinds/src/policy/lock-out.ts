/** What people and the cluster reach a node by, in TCP. */
const lifelines = [
  { name: "SSH", port: 22 },
  { name: "the API server", port: 6443 },
  { name: "the kubelet", port: 10250 },
] as const;

/**
 * What a policy of nodes closes that denies whatever it does not allow in the direction. `isOpen`: somebody may reach the
 * port of the nodes, by TCP.
 */
export function lockOutText(side: "ingress" | "egress", isOpen: (port: number) => boolean): string {
  const closed = side === "egress" ? [] : lifelines.filter(({ port }) => !isOpen(port));
  const named = closed.map(({ name, port }) => `${name} (${port})`).join(", ");
  const what = side === "ingress" ? "comes to" : "leaves";
  const besides = named === "" ? "" : `, and no rule lets in ${named}`;
  return `denies whatever else ${what} the selected nodes themselves; only the fail-safe ports stay open${besides}`;
}
