/** An object of JSON whose fields nobody has looked at. */
export interface JsonObject {
  readonly [key: string]: unknown;
}
