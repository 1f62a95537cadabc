/** Where a node's policy and its mirrors are, unless told otherwise. */
export const usualImagePlaces = {
  policy: "/etc/bpfleet/image-policy.yaml",
  mirrors: "/etc/bpfleet/registries",
} as const;
