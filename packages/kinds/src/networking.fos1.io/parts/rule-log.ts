import type { IssueList } from "../../schema/admit.ts";

/** Of a rule with action log that names neither peers nor ports. */
export function warnOfLogging(path: string, found: IssueList): void {
  found.warning(
    `${path}/action`,
    "logs-all",
    "is log, and the rule matches everything: each flow is a line of the log, as far as there may be so many",
  );
}
