// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Members for tests of the chain: what clang makes of ordinary programs.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 wanted = 0;
__u64 met;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

static __noinline int weigh(struct xdp_md *ctx, __u32 offset)
{
	void *data = (void *)(long)ctx->data;

	if (offset > 32 || data + offset + 1 > (void *)(long)ctx->data_end)
		return -1;
	return *(__u8 *)(data + offset);
}

/* A function of its own. */
SEC("xdp")
int called(struct xdp_md *ctx)
{
	return weigh(ctx, 14) == weigh(ctx, 15) ? XDP_PASS : XDP_DROP;
}

/* Maps, variables, keys on the stack, several exits. */
SEC("xdp")
int looked_up(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	__u64 *value, one = 1;
	__u32 key;

	if (data + 18 > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	__builtin_memcpy(&key, data + 14, sizeof(key));
	__sync_fetch_and_add(&met, 1);
	value = bpf_map_lookup_elem(&seen, &key);
	if (value)
		__sync_fetch_and_add(value, 1);
	else
		bpf_map_update_elem(&seen, &key, &one, BPF_ANY);
	return key == wanted ? XDP_DROP : XDP_PASS;
}

/* Moves the packet: whoever comes next must read the context anew. */
SEC("xdp")
int moved(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, 4) ? XDP_ABORTED : XDP_PASS;
}

/* Knows of packets in fragments. */
SEC("xdp.frags")
int fragmented(struct xdp_md *ctx)
{
	return weigh(ctx, 16) == 9 ? XDP_TX : XDP_PASS;
}

SEC("xdp.frags")
int fragmented_inline(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;

	if (data + 18 > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	return *(__u8 *)(data + 17) == 9 ? XDP_TX : XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
