/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How much an endpoint may receive and send each second, whatever rules let pass. */
#pragma once

#include "policy-bucket.h"
#include "policy-table.h"

/* Some endpoint is limited. */
const volatile bool limits_bandwidth;

struct bandwidth_key {
	__u32 ifindex;
	__u32 direction; /* enum flow_direction */
};

/* Written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct bandwidth_key);
	__type(value, struct pace);
	__uint(max_entries, 1); /* from user space */
} bandwidths SEC(".maps");

/* The time at which the endpoint's bucket will be full again, as in token-bucket.h. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct bandwidth_key);
	__type(value, __u64);
	__uint(max_entries, 1); /* from user space */
} bandwidth_uses SEC(".maps");

/* The most that Linux joins to one packet. */
#define LARGEST_PACKET (8 * 65536ULL)

/* Of less than 2^20 bytes, rounded up, so that no more than the rate passes: less than a nanosecond too much. */
static __always_inline __u64 time_of(__u64 bytes, const struct pace *pace)
{
	__u32 fraction = pace->byte_time & ((1 << PACE_BITS) - 1);

	return (bytes * (pace->byte_time >> PACE_BITS) + (1ULL << fraction) - 1) >> fraction;
}

/*
 * A bucket that was emptied at another rate, or with another burst, lies no further ahead than the present ones can
 * bring it: else a raised limit would let nothing pass until what was charged at the old rate is over. A plain store:
 * the worst outcome is that what other CPUs charge at this moment is forgotten.
 */
static __always_inline void catch_up(__u64 *full_at, __u64 now_ns, const struct pace *pace)
{
	__u64 most = now_ns + pace->burst_ns + time_of(LARGEST_PACKET, pace);

	if (full_at && !dry_run && *(volatile __u64 *)full_at > most)
		*(volatile __u64 *)full_at = most;
}

/*
 * False: the burst is used up. However large, what takes the last of it passes: the kernel joins packets, and TCP would
 * lose them all at once.
 */
static __always_inline bool take_bytes(__u64 *full_at, __u32 bytes, const struct pace *pace)
{
	__u64 now_ns = bpf_ktime_get_ns();

	if (take(full_at, now_ns, time_of(bytes, pace), pace->burst_ns))
		return true;
	catch_up(full_at, now_ns, pace);
	return false;
}

/* 0: the burst is used up. A function that is global, so that the verifier follows it once. */
__noinline int take_share(struct __sk_buff *skb, __u32 direction)
{
	struct bandwidth_key key = { .ifindex = skb->ifindex, .direction = direction };
	const struct pace *limit = bpf_map_lookup_elem(&bandwidths, &key);
	__u64 scratch;

	if (!limit || !limit->byte_time)
		return 1;
	return take_bytes(bucket_of(&bandwidth_uses, &key, &scratch), skb->len, limit);
}
