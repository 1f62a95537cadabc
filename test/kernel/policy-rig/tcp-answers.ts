/** Both run in a process inside another network namespace, to which their text is handed: they take nothing from here. */

/** Answers who connects to port 9 with a text, and where `tellsSource`, with the address that he came from. */
export async function answerTcp({ text, tellsSource = false }: { text: string; tellsSource?: boolean }): Promise<void> {
  const { createServer } = process.getBuiltinModule("node:net");
  const server = createServer((socket) => {
    const by = socket.remoteAddress?.replace(/^::ffff:/, "");
    socket.on("error", () => undefined).end(tellsSource ? `${text} to ${by}` : text);
  });
  await new Promise<void>((done) => server.listen(9, "::", done));
}

/** What was answered, the code of an error, or `silence`. */
export async function askTcp({ address, port }: { address: string; port: number }): Promise<string> {
  const { connect } = process.getBuiltinModule("node:net");
  const socket = connect({ host: address, port });
  try {
    return await new Promise<string>((done) => {
      socket.once("error", ({ code = "?" }: NodeJS.ErrnoException) => done(code));
      socket.once("data", (said) => done(String(said)));
      setTimeout(() => done("silence"), 1500);
    });
  } finally {
    socket.destroy();
  }
}
