import { ok, refused } from "@bpfleet/base";
import type { Issue, Result } from "@bpfleet/base";
import { parseDuration } from "../values/duration.ts";
import type { ElectionConfig } from "./election-config.ts";

export interface ElectionDefaults {
  readonly namespace: string;
  readonly name: string;
  readonly identity: string;
}

interface NameRule {
  readonly shape: RegExp;
  readonly most: number;
  readonly help: string;
}

const characters = "small letters, digits and -";
const namespaceRule: NameRule = {
  shape: /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
  most: 63,
  help: `namespace; write up to 63 ${characters}, with a letter or digit at both ends`,
};
const leaseRule: NameRule = {
  shape: /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/,
  most: 253,
  help: `Lease; write up to 253 ${characters}, in parts with dots between, each with a letter or digit at both ends`,
};

const defaults = { leaseDurationMs: 15_000, renewDeadlineMs: 10_000, retryPeriodMs: 2000 };

/** Reads `LEADER_ELECTION_ENABLED`, `_LEASE_DURATION`, `_RENEW_DEADLINE`, `_RETRY_PERIOD`, `_LOCK_NAME`, `_LOCK_NAMESPACE`. */
export function parseElection(
  env: Readonly<Record<string, string | undefined>>,
  named: ElectionDefaults,
): Result<ElectionConfig> {
  const issues: Issue[] = [];
  const word = (name: string): string | undefined => {
    const value = env[`LEADER_ELECTION_${name}`]?.trim();
    return value === "" ? undefined : value;
  };
  const wrong = (name: string, message: string): void => {
    const path = `LEADER_ELECTION_${name}`;
    issues.push({ path, code: "format", severity: "error", message: `read ${path}: ${message}` });
  };
  const duration = (name: string, byDefault: number): number => {
    const text = word(name);
    if (text === undefined) return byDefault;
    const ms = parseDuration(text);
    if (ms !== undefined && ms > 0) return ms;
    wrong(name, `${text} is no duration; write 15s, 1m30s or 500ms`);
    return byDefault;
  };
  const objectName = (name: string, byDefault: string, { shape, most, help }: NameRule): string => {
    const text = word(name) ?? byDefault;
    if (text.length > most || !shape.test(text)) wrong(name, `${text} is no name of a ${help}`);
    return text;
  };
  const enabled = word("ENABLED") ?? "true";
  if (!/^(true|false|1|0)$/i.test(enabled)) wrong("ENABLED", `${enabled} is neither true nor false`);
  const config: ElectionConfig = {
    isEnabled: /^(true|1)$/i.test(enabled),
    namespace: objectName("LOCK_NAMESPACE", named.namespace, namespaceRule),
    name: objectName("LOCK_NAME", named.name, leaseRule),
    identity: named.identity,
    leaseDurationMs: duration("LEASE_DURATION", defaults.leaseDurationMs),
    renewDeadlineMs: duration("RENEW_DEADLINE", defaults.renewDeadlineMs),
    retryPeriodMs: duration("RETRY_PERIOD", defaults.retryPeriodMs),
  };
  if (issues.length === 0) {
    // Whoever relies on the lease for longer than others respect it would lead beside the next.
    if (config.leaseDurationMs <= config.renewDeadlineMs)
      wrong("LEASE_DURATION", "it must be longer than the renew deadline, or two could lead at once");
    if (config.renewDeadlineMs <= config.retryPeriodMs * 1.2)
      wrong("RENEW_DEADLINE", "it must be longer than 1.2 retry periods, or one lost answer ends the leadership");
  }
  return issues.length > 0 ? refused(issues) : ok(config);
}
