/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How much an endpoint may receive and send each second, whatever rules let pass. */
#pragma once

#include "policy-flow.h"

/* Some endpoint is limited. */
const volatile bool limits_bandwidth;

struct bandwidth_key {
	__u32 ifindex;
	__u32 direction; /* enum flow_direction */
};

struct bandwidth {
	__u64 bits_per_second;
	__u64 burst_bytes;
};

/* Written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct bandwidth_key);
	__type(value, struct bandwidth);
	__uint(max_entries, 1); /* from user space */
} bandwidths SEC(".maps");

/* The time at which the endpoint's bucket will be full again, as in token-bucket.h. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct bandwidth_key);
	__type(value, __u64);
	__uint(max_entries, 1); /* from user space */
} bandwidth_uses SEC(".maps");

static __always_inline __u64 time_of(__u64 bytes, __u64 bits_per_second)
{
	return bytes * 8 * SECOND_NS / bits_per_second;
}

/* The most that Linux joins to one packet. */
#define LARGEST_PACKET (8 * 65536ULL)

/*
 * A bucket that was emptied at another rate, or with another burst, lies no further ahead than the present ones can
 * bring it: else a raised limit would let nothing pass until what was charged at the old rate is over. A plain store:
 * the worst outcome is that what other CPUs charge at this moment is forgotten.
 */
static __always_inline void catch_up(__u64 *full_at, __u64 until, __u64 now_ns, __u64 burst_bytes,
				     __u64 bits_per_second)
{
	__u64 most = now_ns + time_of(burst_bytes + LARGEST_PACKET, bits_per_second);

	if (until > most && !dry_run)
		*(volatile __u64 *)full_at = most;
}

/*
 * 0: the burst is used up. What takes the last of it passes whole and is charged whole, however large: the kernel joins
 * packets, and TCP would lose them all at once. At the limit each CPU may let one more pass, which is charged too. A
 * function that is global, so that the verifier follows it once.
 */
__noinline int take_share(struct __sk_buff *skb, __u32 direction)
{
	struct bandwidth_key key = { .ifindex = skb->ifindex, .direction = direction };
	const struct bandwidth *limit = bpf_map_lookup_elem(&bandwidths, &key);
	__u64 now_ns, until, cost, *full_at;

	if (!limit || !limit->bits_per_second)
		return 1;
	now_ns = bpf_ktime_get_ns();
	cost = time_of(skb->len, limit->bits_per_second);
	full_at = bpf_map_lookup_elem(&bandwidth_uses, &key);
	until = full_at ? *(volatile __u64 *)full_at : 0;
	if (until > now_ns) {
		if (until > now_ns + time_of(limit->burst_bytes, limit->bits_per_second)) {
			catch_up(full_at, until, now_ns, limit->burst_bytes, limit->bits_per_second);
			return 0;
		}
		if (!dry_run)
			__sync_fetch_and_add(full_at, cost);
		return 1;
	}
	now_ns += cost;
	if (!dry_run)
		bpf_map_update_elem(&bandwidth_uses, &key, &now_ns, BPF_ANY);
	return 1;
}
