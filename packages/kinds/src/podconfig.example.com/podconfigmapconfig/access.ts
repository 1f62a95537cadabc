import { readAndReport } from "../../access.ts";

export const podConfigAccess = readAndReport("podconfigmapconfigs");
