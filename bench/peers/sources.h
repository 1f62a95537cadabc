/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses to send from, one at random for each packet; user space fills them in. */
#ifndef BENCH_SOURCES_H
#define BENCH_SOURCES_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SOURCES 4096
#define ETHERNET_BYTES 14
#define IPV4_SOURCE_OFFSET 12

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __be32);
	__uint(max_entries, SOURCES);
} sources SEC(".maps");

/* Writes one of them into the packet's IPv4 header. */
static __always_inline void take_source(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 index = bpf_get_prandom_u32() & (SOURCES - 1);
	__be32 *source = bpf_map_lookup_elem(&sources, &index);
	__be32 *field = data + ETHERNET_BYTES + IPV4_SOURCE_OFFSET;

	if (source && (void *)(field + 1) <= end)
		*field = *source;
}

#endif
