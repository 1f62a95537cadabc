// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Stands for the images of bpfd's Go examples: sections and maps by their names there. -DXDP, -DTC and
 * -DTRACEPOINT give one each.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SIGUSR1 10

struct datarec {
	__u64 rx_packets;
	__u64 rx_bytes;
};

#ifdef XDP
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 5);
	__type(key, __u32);
	__type(value, struct datarec);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} xdp_stats_map SEC(".maps");

SEC("xdp/stats")
int xdp_stats(struct xdp_md *ctx)
{
	__u32 action = XDP_PASS;
	struct datarec *record = bpf_map_lookup_elem(&xdp_stats_map, &action);

	if (record) {
		record->rx_packets += 1;
		record->rx_bytes += ctx->data_end - ctx->data;
	}
	return action;
}
#endif

#ifdef TC
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct datarec);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tc_stats_map SEC(".maps");

SEC("classifier/stats")
int stats(struct __sk_buff *skb)
{
	__u32 key = 0;
	struct datarec *record = bpf_map_lookup_elem(&tc_stats_map, &key);

	if (record) {
		record->rx_packets += 1;
		record->rx_bytes += skb->len;
	}
	return 0; /* TC_ACT_OK */
}
#endif

#ifdef TRACEPOINT
struct calls {
	__u64 calls;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct calls);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tracepoint_stats_map SEC(".maps");

struct kill_arguments {
	__u64 common;
	__s64 number;
	__s64 pid;
	__s64 signal;
};

SEC("tracepoint/tracepoint_kill_recorder")
int tracepoint_kill_recorder(struct kill_arguments *ctx)
{
	__u32 key = 0;
	struct calls *record = bpf_map_lookup_elem(&tracepoint_stats_map, &key);

	if (record && ctx->signal == SIGUSR1)
		record->calls += 1;
	return 0;
}
#endif

char _license[] SEC("license") = "Dual BSD/GPL";
