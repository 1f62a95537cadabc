/** Bytes that are not what rtnetlink promises. The only error that decoding throws. */
export class NetlinkError extends Error {
  override readonly name = "NetlinkError";
  readonly code: "truncated" | "malformed";

  constructor(code: "truncated" | "malformed", message: string) {
    super(message);
    this.code = code;
  }
}
