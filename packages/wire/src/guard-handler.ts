/** What a handler needs of an answer to refuse by it; Node's have it. */
interface Refusable {
  readonly headersSent: boolean;
  writeHead(status: number): unknown;
  end(): unknown;
}

/** Answers 400 where the adapter of Connect throws, as it does at an authority of which no URL can be made. */
export function guardHandler<Request, Response extends Refusable>(
  handle: (request: Request, response: Response) => void,
): (request: Request, response: Response) => void {
  return (request, response) => {
    try {
      handle(request, response);
    } catch {
      if (!response.headersSent) response.writeHead(400);
      response.end();
    }
  };
}
