import type { ConnectRouter } from "@connectrpc/connect";
import { MachineService } from "@bpfleet/wire";
import type { Machine } from "../machine/machine.ts";
import { answer } from "./daemon-routes.ts";
import { decodeReadRequest, decodeWriteRequest, encodeReading, encodeSurvey } from "./machine-wire.ts";

export function routeMachine(router: ConnectRouter, machine: Machine): void {
  router.service(MachineService, {
    getSurvey: (options) => answer(async () => encodeSurvey(await machine.survey(options))),
    readMap: (request) => answer(async () => encodeReading(await machine.readMap(decodeReadRequest(request)))),
    writeMap: (request) =>
      answer(async () => {
        await machine.writeMap(decodeWriteRequest(request));
        return {};
      }),
  });
}
