/** Protocols without ports that a rule may name, with their numbers. */
export const portlessProtocols: Readonly<Record<string, number>> = {
  IGMP: 2,
  IPIP: 4,
  IPV6: 41,
  GRE: 47,
  ESP: 50,
  AH: 51,
  VRRP: 112,
};

export type PortReading =
  | { readonly is: "any" }
  | { readonly is: "number"; readonly number: number }
  | { readonly is: "name"; readonly name: string }
  /** `because` follows "is …: ". */
  | { readonly is: "wrong"; readonly because: string };

/** Reads a port as Cilium writes them: digits, or the name of a service; 0 is any. */
export function parsePort(text: string): PortReading {
  if (/^\d+$/.test(text)) {
    if (/^0\d/.test(text))
      return { is: "wrong", because: "with a zero in front Cilium reads it as octal; leave that off" };
    const number = Number(text);
    if (number > 65535) return { is: "wrong", because: "ports end at 65535" };
    return number === 0 ? { is: "any" } : { is: "number", number };
  }
  // https://www.rfc-editor.org/rfc/rfc6335#section-5.1
  if (text.length <= 15 && /^[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*$/.test(text) && /[A-Za-z]/.test(text))
    return { is: "name", name: text.toLowerCase() };
  return {
    is: "wrong",
    because: "a port is a number or a name of at most 15 letters, digits and single hyphens with a letter among them",
  };
}
