// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Turns live test-run frames into traffic: another source for each, out by one interface. */
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

const volatile __u32 out_ifindex;

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 index = bpf_get_prandom_u32() & (SOURCES - 1);
	__be32 *source = bpf_map_lookup_elem(&sources, &index);
	__be32 *field = data + ETHERNET_BYTES + IPV4_SOURCE_OFFSET;

	if (source && (void *)(field + 1) <= end)
		*field = *source;
	return bpf_redirect(out_ifindex, 0);
}
