// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// An XDP program with a knob, three maps and a ring buffer, and what else an object may hold.
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <stdbool.h>

struct lpm_key {
	__u32 prefix_length;
	__be32 address;
};

struct event {
	__be32 source;
	__u32 sequence;
};

struct limits {
	__u32 low;
	__u32 high;
};

const volatile __u16 watched_port = 53;
const volatile bool is_strict = false;
const volatile __s8 offsets[4] = {1, 2, 3, 4};
const volatile __u64 masks[2][2] = {{1, 2}, {3, 4}};
const volatile char label[8] = "unset";
const volatile struct limits limits = {1, 2};
__u64 packets_seen = 0;
__u32 first_sequence = 7;

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 64);
	__type(key, struct lpm_key);
	__type(value, __u8);
} denied SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __be32);
	__type(value, __u64);
} seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, __u64);
} shared SEC(".maps");

static __always_inline void report(__be32 source)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event)
		return;
	event->source = source;
	event->sequence = first_sequence + __sync_fetch_and_add(&packets_seen, 1);
	bpf_ringbuf_submit(event, 0);
}

SEC("xdp")
int gate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct lpm_key key = {.prefix_length = 32};
	__u64 one = 1, *count;
	__be32 source;

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return is_strict ? XDP_DROP : XDP_PASS;
	source = ip->saddr;
	count = bpf_map_lookup_elem(&seen, &source);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&seen, &source, &one, BPF_ANY);
	report(source);
	key.address = source;
	return bpf_map_lookup_elem(&denied, &key) ? XDP_DROP : XDP_PASS;
}

// Refers to every global, so that the compiler keeps them.
SEC("xdp.frags")
int pass(struct xdp_md *ctx)
{
	__u32 zero = 0, index = ctx->ingress_ifindex & 1;
	__u64 *value = bpf_map_lookup_elem(&shared, &zero);

	if (value)
		*value += watched_port + offsets[index] + masks[index][index] + label[index] + limits.low;
	return XDP_PASS;
}

__attribute__((noinline)) static int shorten(struct xdp_md *ctx, int by)
{
	return bpf_xdp_adjust_tail(ctx, -by);
}

SEC("xdp")
int cut(struct xdp_md *ctx)
{
	return shorten(ctx, 4) ? XDP_ABORTED : XDP_TX;
}

char LICENSE[] SEC("license") = "GPL";
