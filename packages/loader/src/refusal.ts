/** What a client is told, as bpfd told it: nearly everything is ABORTED with a text. */
export type RefusalCode = "aborted" | "invalid-argument" | "unauthenticated" | "unavailable";

export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly code: RefusalCode;

  constructor(code: RefusalCode, message: string) {
    super(message);
    this.code = code;
  }
}
