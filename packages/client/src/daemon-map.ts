import { once } from "node:events";
import { connect as connectHttp2, type ClientHttp2Session } from "node:http2";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import type { MapBytes, PackedEntries } from "./map-bytes.ts";
import { MapError, type MapErrorCode } from "./map-error.ts";

/** bpfleet.daemon.v1.MapReading as JSON: what is 0, empty or false is left out. */
interface Reading {
  readonly id?: number;
  readonly definition?: { readonly keySize?: number; readonly valueSize?: number; readonly maxEntries?: number };
  readonly btf?: string;
  readonly keyTypeId?: number;
  readonly valueTypeId?: number;
  readonly entries?: { readonly count?: number; readonly keys?: string; readonly values?: string };
  readonly cpus?: number;
}

type MapRef = { readonly pinPath: string } | { readonly id: number };

const codes: Readonly<Record<string, MapErrorCode>> = {
  not_found: "not-found",
  permission_denied: "no-permission",
};

/** The map as the daemon of this node reads it: on kernels that let nobody else. */
export async function openByDaemon(path: string, socket: string): Promise<MapBytes> {
  const daemon = new DaemonMaps(socket);
  try {
    return bytesOf(daemon, path, await daemon.read({ pinPath: path }, `open map ${path}`));
  } catch (error) {
    daemon[Symbol.dispose]();
    throw error;
  }
}

function bytesOf(daemon: DaemonMaps, path: string, opened: Reading): MapBytes {
  const { id = 0, definition = {}, btf, keyTypeId = 0, valueTypeId = 0, cpus = 0 } = opened;
  const { keySize = 0, valueSize = 0, maxEntries = 0 } = definition;
  const what = `read map ${path}`;
  return {
    via: "daemon",
    id,
    keySize,
    valueSize,
    isPerCpu: cpus > 0,
    types: btf === undefined ? undefined : { btf: Buffer.from(btf, "base64"), keyTypeId, valueTypeId },
    async get(key) {
      try {
        const { entries } = await daemon.read({ id }, what, { key: Buffer.from(key).toString("base64") });
        return Buffer.from(entries?.values ?? "", "base64");
      } catch (error) {
        if (!(error instanceof MapError) || error.code !== "not-found") throw error;
        // The entry is not there, or the map: that one is told.
        await daemon.read({ id }, `${what}: open it anew, another map may be there`);
        return undefined;
      }
    },
    async read(): Promise<PackedEntries> {
      const { entries = {} } = await daemon.read({ id }, what, { max: maxEntries });
      const { count = 0, keys = "", values = "" } = entries;
      return { count, keys: Buffer.from(keys, "base64"), values: Buffer.from(values, "base64") };
    },
    [Symbol.dispose]: () => daemon[Symbol.dispose](),
  };
}

/** MachineService.ReadMap over the unix socket, in JSON. Keeps no process alive but while it asks. */
class DaemonMaps implements Disposable {
  readonly #socket: string;
  #session: ClientHttp2Session | undefined;
  /** What the last connection broke by: requests are only told that it did. */
  #broken: Error | undefined;

  constructor(socket: string) {
    this.#socket = socket;
  }

  async read(map: MapRef, what: string, more: object = {}): Promise<Reading> {
    const session = this.#connected();
    session.ref();
    let status: number | undefined;
    let body: string;
    try {
      const stream = session.request({
        ":method": "POST",
        ":path": "/bpfleet.daemon.v1.MachineService/ReadMap",
        "content-type": "application/json",
        "connect-protocol-version": "1",
      });
      stream.end(JSON.stringify({ map, ...more }));
      const [headers] = (await once(stream, "response")) as [{ readonly ":status"?: number }];
      status = headers[":status"];
      body = await text(stream);
    } catch (cause) {
      this[Symbol.dispose]();
      throw unreachable(what, this.#socket, this.#broken ?? cause);
    } finally {
      if (!session.destroyed) session.unref();
    }
    const answer = JSON.parse(body) as Reading & { readonly code?: string; readonly message?: string };
    if (status === 200) return answer;
    throw new MapError(`${what}: ${answer.message ?? `HTTP ${status}`}`, codes[answer.code ?? ""] ?? "other");
  }

  [Symbol.dispose](): void {
    this.#session?.destroy();
  }

  #connected(): ClientHttp2Session {
    if (this.#session !== undefined && !this.#session.destroyed && !this.#session.closed) return this.#session;
    const session = connectHttp2("http://localhost", { createConnection: () => connect(this.#socket) });
    this.#broken = undefined;
    session.on("error", (error) => (this.#broken = error));
    this.#session = session;
    return session;
  }
}

function unreachable(what: string, socket: string, cause: unknown): MapError {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === "EACCES")
    return new MapError(
      `${what}: the socket ${socket} may not be opened (EACCES); run in the group that ebpfctl up --maps-group names`,
      "no-permission",
      cause,
    );
  return new MapError(
    `${what}: nobody answers at ${socket} (${code ?? message}); is ebpfctl up running?`,
    "unreachable",
    cause,
  );
}
