/** Why there is nobody whose work could be waited for; `undefined` where a leader is known. */
export function whyLeaderless(
  { namespace, name }: { readonly namespace: string; readonly name: string },
  leader: string | undefined,
  lastFault: Error | undefined,
): string | undefined {
  if (leader !== undefined) return undefined;
  const fault = lastFault === undefined ? "" : `; the last fault: ${lastFault.message}`;
  return `no leader is known yet: Lease ${namespace}/${name} has named nobody so far${fault}`;
}
