// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The floor that filters are measured against, and what makes sources vary. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SOURCES 4096
#define ETHERNET_BYTES 14
#define IPV4_SOURCE_OFFSET 12

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __be32);
	__uint(max_entries, SOURCES);
} sources SEC(".maps");

SEC("xdp")
int drop_all(struct xdp_md *ctx)
{
	return XDP_DROP;
}

SEC("xdp")
int pass_all(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* Writes one of the sources, at random, into the packet's IPv4 header. */
SEC("xdp")
int vary_source(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 index = bpf_get_prandom_u32() & (SOURCES - 1);
	__be32 *source = bpf_map_lookup_elem(&sources, &index);
	__be32 *field = data + ETHERNET_BYTES + IPV4_SOURCE_OFFSET;

	if (source && (void *)(field + 1) <= end)
		*field = *source;
	return XDP_PASS;
}
