import type { Credentials, Proof } from "../http/access.ts";

/** The authority is read as often as the credentials: both may be renewed while we run. */
export function withAuthority(credentials: Credentials, ca: () => Promise<string>): Credentials {
  const given = new WeakMap<Proof, Proof>();
  return {
    current: async () => {
      const proof = await credentials.current();
      const whole = { ...proof, ca: await ca() };
      given.set(whole, proof);
      return whole;
    },
    renew: (refused) => credentials.renew(given.get(refused) ?? refused),
  };
}
