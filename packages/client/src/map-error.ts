export type MapErrorCode = "not-found" | "no-permission" | "unreachable" | "no-types" | "other";

/** A map cannot be opened or read. */
export class MapError extends Error {
  override readonly name = "MapError";
  readonly code: MapErrorCode;

  constructor(message: string, code: MapErrorCode, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}
