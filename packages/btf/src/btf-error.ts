/** Type information that cannot be read, or a value that does not fit its type; nothing else is ever thrown here. */
export class BtfError extends Error {
  override readonly name = "BtfError";
  readonly code: "malformed" | "not-found" | "no-size" | "misfit";

  constructor(code: BtfError["code"], message: string) {
    super(message);
    this.code = code;
  }
}
