/** One call by mutual TLS: `node call-loader.ts CA CERT KEY METHOD REQUEST-IN-BASE64`; prints the answer in base64. */
import { readFileSync } from "node:fs";
import { credentials } from "@grpc/grpc-js";
import { LoaderClient } from "./loader-client.ts";

const [, , ca = "", cert = "", key = "", method = "", request = ""] = process.argv;
const channel = credentials.createSsl(readFileSync(ca), readFileSync(key), readFileSync(cert));
using client = new LoaderClient("[::1]:50051", channel);
try {
  const answer = await client.call(method as "Load" | "Unload" | "List", Buffer.from(request, "base64"));
  process.stdout.write(answer.toString("base64"));
} catch (error) {
  process.stderr.write(`${(error as { details?: string }).details ?? String(error)}\n`);
  process.exitCode = 1;
}
