// Opens a connection of TCP and waits for an answer; prints whether one came in time, as JSON.
// usage: ask.ts HOST PORT MILLISECONDS
import { connect } from "node:net";

const [host = "", port = "", patience = ""] = process.argv.slice(2);
const socket = connect({ host, port: Number(port) });
const tell = (isAnswered: boolean): void => {
  process.stdout.write(JSON.stringify(isAnswered));
  process.exit();
};
socket.once("data", () => tell(true)).once("error", () => tell(false));
setTimeout(tell, Number(patience), false);
