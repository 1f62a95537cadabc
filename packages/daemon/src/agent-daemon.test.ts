import { agentDaemonContract } from "./agent-daemon.contract.ts";
import { FakeNode } from "./testing/fake-node.ts";
import { RemoteBench } from "./testing/remote-bench.ts";

agentDaemonContract("NodeDaemon", async () => {
  const node = new FakeNode();
  return { node, daemon: node.daemon, [Symbol.asyncDispose]: () => node[Symbol.asyncDispose]() };
});

agentDaemonContract("RemoteDaemon", async () => {
  const bench = new RemoteBench();
  await bench.serve();
  const daemon = await bench.connect();
  return { node: bench.node, daemon, [Symbol.asyncDispose]: () => bench[Symbol.asyncDispose]() };
});
