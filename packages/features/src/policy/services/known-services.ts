import type { BackendsIntent, ServiceIntent } from "../intent.ts";

/** A Service with all that is behind it, ready or not. */
export interface KnownService extends ServiceIntent {
  readonly slices: readonly BackendsIntent[];
}

interface Told {
  readonly services: readonly ServiceIntent[];
  readonly backends?: readonly BackendsIntent[] | undefined;
}

const none: readonly BackendsIntent[] = [];

export function knowServices({ services, backends = none }: Told): readonly KnownService[] {
  const byService = Map.groupBy(backends, ({ namespace, service }) => `${namespace}/${service}`);
  return services.map((service) => ({
    ...service,
    slices: byService.get(`${service.namespace}/${service.name}`) ?? none,
  }));
}
