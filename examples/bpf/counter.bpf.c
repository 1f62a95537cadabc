// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Counts packets and bytes by what becomes of them. Lets everything pass unless `is_closed` is set. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

struct datarec {
	__u64 rx_packets;
	__u64 rx_bytes;
};

/* Index is the XDP action. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 5);
	__type(key, __u32);
	__type(value, struct datarec);
} xdp_stats_map SEC(".maps");

const volatile bool is_closed = false;

SEC("xdp/stats")
int xdp_stats(struct xdp_md *ctx)
{
	__u32 action = is_closed ? XDP_DROP : XDP_PASS;
	struct datarec *record = bpf_map_lookup_elem(&xdp_stats_map, &action);

	if (record) {
		record->rx_packets += 1;
		record->rx_bytes += ctx->data_end - ctx->data;
	}
	return action;
}

char _license[] SEC("license") = "Dual BSD/GPL";
