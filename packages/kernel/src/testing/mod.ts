export { interfaceFacts, nodeFacts, wholeKernel } from "./node-facts.ts";
