export { Certificates, type CertificateWish } from "./certificates.ts";
export { Traffic, type Numbers } from "./traffic.ts";
export { until } from "./until.ts";
