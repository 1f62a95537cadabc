import type { SignatureOutcome } from "../bytecode.ts";
import type { Digest } from "../digest.ts";
import { printable } from "../registry/registry-failure.ts";
import { readBundle } from "./bundle.ts";
import type { Evidence } from "./evidence.ts";
import type { SignatureRule } from "./policy.ts";
import { readSimpleSigning } from "./simple-signing.ts";
import { verifyEntity } from "./trust.ts";

/**
 * Who signed one of these digests, by the rule's keys and identities; else why nobody did. Asks no network
 * and no clock: the same evidence gives the same answer. One good signature is enough, whatever else is there.
 */
export function decideSignature(
  { mode, accept }: Pick<SignatureRule, "mode" | "accept">,
  digests: readonly Digest[],
  evidence: readonly Evidence[],
): SignatureOutcome {
  if (mode === "off") return { state: "not-checked", reason: "the image policy of this node is off for it" };
  const relevant = evidence.filter(({ over }) => digests.includes(over));
  if (relevant.length === 0) return { state: "unsigned", reason: `nothing signs ${digests.join(" or ")}` };
  if (accept.length === 0)
    return { state: "refused", reason: "the image policy accepts no key and no identity", attempts: [] };
  const attempts: string[] = [];
  for (const [at, each] of relevant.entries()) {
    const name = `${each.format} ${at + 1}`;
    try {
      const entity =
        each.format === "bundle"
          ? readBundle(each.bytes, each.over)
          : readSimpleSigning(each.bytes, each.annotations, each.over);
      for (const accepted of accept) {
        try {
          return { state: "verified", by: verifyEntity(entity, accepted), format: each.format };
        } catch (error) {
          attempts.push(`${name} by ${accepted.kind} ${accepted.name}: ${reasonOf(error)}`);
        }
      }
    } catch (error) {
      attempts.push(`${name}: ${reasonOf(error)}`);
    }
  }
  const [first = ""] = attempts;
  const more = attempts.length > 1 ? ` (and ${attempts.length - 1} more)` : "";
  return { state: "refused", reason: `${first}${more}`, attempts };
}

function reasonOf(error: unknown): string {
  const { code, message } = error as { readonly code?: unknown; readonly message?: string };
  const said = printable(message ?? String(error));
  return typeof code === "string" ? `${said} (${code})` : said;
}
