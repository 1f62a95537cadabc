// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Maps for applications to read. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct flow {
	__be32 address;
	__be16 port;
	__u16 zero;
};

struct seen {
	__u64 packets;
	__u32 bytes;
#ifdef LONGER
	__u32 drops;
	__u64 last;
#else
	__u32 drops;
#endif
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct flow);
	__type(value, struct seen);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, struct seen);
} totals SEC(".maps");

SEC("xdp/read")
int xdp_read(struct xdp_md *ctx)
{
	struct flow flow = {};
	__u32 first = 0;

	return bpf_map_lookup_elem(&flows, &flow) && bpf_map_lookup_elem(&totals, &first) ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
