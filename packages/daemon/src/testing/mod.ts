export { Certificates, type CertificateWish } from "./certificates.ts";
export { recordedResults, type RecordedResult } from "./recorded-results.ts";
export { LineProcess } from "./line-process.ts";
export { Traffic, type Numbers } from "./traffic.ts";
export { until } from "./until.ts";
