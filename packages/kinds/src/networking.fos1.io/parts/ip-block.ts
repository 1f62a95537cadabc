import { parsePrefix } from "../../address/prefix.ts";
import { prefixRule } from "../../address/rules.ts";
import { containsPrefix } from "../../policy/contains-prefix.ts";
import type { IssueList } from "../../schema/admit.ts";
import { Type } from "../../schema/type.ts";
import { warnOfHostBits } from "./prefixes.ts";

const cidr = { maxLength: 49, rules: [prefixRule] };

export const ipBlockSchema = Type.Object(
  {
    cidr: Type.String({ ...cidr, description: "Address or CIDR, IPv4 or IPv6." }),
    except: Type.Optional(
      Type.Array(Type.String(cidr), {
        maxItems: 32,
        description: "Parts of the CIDR that are not meant.",
        "x-kubernetes-list-type": "atomic",
      }),
    ),
  },
  { description: "Addresses." },
);

interface IpBlock {
  readonly cidr: string;
  readonly except?: readonly string[] | undefined;
}

/** Exceptions must lie within what they are exceptions of. */
export function checkIpBlock(block: IpBlock | undefined, path: string, found: IssueList): void {
  if (block === undefined || !found.isSound(path)) return;
  warnOfHostBits(block.cidr, `${path}/cidr`, found);
  const whole = parsePrefix(block.cidr);
  if (!whole.ok) return;
  for (const [index, text] of (block.except ?? []).entries()) {
    const at = `${path}/except/${index}`;
    warnOfHostBits(text, at, found);
    const part = parsePrefix(text);
    if (!part.ok) continue;
    if (!containsPrefix(whole.prefix, part.prefix))
      found.error(at, "range", `must lie within ${block.cidr}, is ${text}`);
    else if (part.prefix.length === whole.prefix.length)
      found.warning(at, "nothing-left", `is all of ${block.cidr}, so no address is meant`);
  }
}
