import { makeGenericClientConstructor, type credentials, type ServiceError } from "@grpc/grpc-js";

const asIs = { serialize: (bytes: Buffer) => bytes, deserialize: (bytes: Buffer) => bytes };

function method(name: string) {
  return {
    path: `/bpfd.v1.Loader/${name}`,
    requestStream: false,
    responseStream: false,
    requestSerialize: asIs.serialize,
    requestDeserialize: asIs.deserialize,
    responseSerialize: asIs.serialize,
    responseDeserialize: asIs.deserialize,
  } as const;
}

const GrpcClient = makeGenericClientConstructor(
  { Load: method("Load"), Unload: method("Unload"), List: method("List") },
  "Loader",
);

type Call = (request: Buffer, callback: (error: ServiceError | null, answer?: Buffer) => void) => void;

/** grpc-js leaves reserved characters of a percent-encoded message as they came. */
function withWholeDetails(error: ServiceError | null): Error {
  return error === null ? new Error("no answer") : Object.assign(error, { details: decodeURIComponent(error.details) });
}

/** grpc-js with bytes as they are. */
export class LoaderClient implements Disposable {
  readonly #client: InstanceType<typeof GrpcClient>;

  constructor(address: string, channel: ReturnType<typeof credentials.createSsl>) {
    this.#client = new GrpcClient(address, channel);
  }

  call(name: "Load" | "Unload" | "List", request: Buffer): Promise<Buffer> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    (this.#client[name] as unknown as Call).call(this.#client, request, (error, answer) =>
      error === null && answer !== undefined ? resolve(answer) : reject(withWholeDetails(error)),
    );
    return promise;
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}
