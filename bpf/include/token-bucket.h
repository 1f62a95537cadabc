/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A token bucket per source, kept as the time at which it will be full again: a packet moves that time
 * on by what one packet costs, and is over the limit when it would lie more than a burst ahead. One
 * number is the whole state, and because a burst is always one second's worth, it means the same share
 * of the bucket at every rate: a changed rate resets nothing.
 *
 * Buckets stand in sets. A new source takes a bucket that is full, which by then says no more than a
 * new one does; where none is full, the sources without a bucket share one for the whole set. So no
 * number of invented sources gives anybody back a token.
 *
 * Two CPUs may work on one bucket. Moving an emptying bucket on is one atomic addition: nothing is
 * lost, and at the limit each CPU lets at most one packet more through, which is charged. Taking or
 * starting a full bucket is a plain store: the worst outcome is that packets which other CPUs charged
 * to it since we read it are forgotten, or that two sources that take it at the same moment find
 * themselves without one at their next packet.
 */
#pragma once

#include "network.h"

#define BUCKET_WAYS 7
#define BUCKET_SETS 16384
/* Fractions of a nanosecond, so that high rates are exact too. */
#define TICKS_PER_NS 16
#define BURST_TICKS (1000000000ULL * TICKS_PER_NS)

struct bucket {
	__u64 source;
	__u64 full_at; /* in ticks since boot */
};

struct bucket_set {
	/* The last is shared and has no source. */
	struct bucket ways[BUCKET_WAYS + 1];
};
_Static_assert(sizeof(struct bucket_set) == 128, "map ABI: regenerate the codecs");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct bucket_set);
	__uint(max_entries, 1); /* BUCKET_SETS, from user space */
} buckets SEC(".maps");

/* An IPv4 address, or the first half of an IPv6 one. The marker is multicast as IPv6, so never a source. */
static __always_inline __u64 bucket_source(enum network network, __u64 high)
{
	return network == NETWORK_IPV4 ? 0xffffffff00000000ULL | high >> 32 : high;
}

static __always_inline __u32 bucket_set_of(__u64 source, __u64 seed)
{
	source = (source ^ seed) * 0x9e3779b97f4a7c15ULL;
	source = (source ^ source >> 32) * (seed | 1);
	source = (source ^ source >> 29) * 0xbf58476d1ce4e5b9ULL;
	return source >> 32 & (BUCKET_SETS - 1);
}

/* The number of the bucket that is the source's, or that it may have; BUCKET_WAYS is the shared one. */
static __always_inline __u32 find_way(const struct packet *packet, const struct bucket_set *set, __u64 source,
				      __u64 now, bool *is_new)
{
	__u32 way = BUCKET_WAYS;

	*is_new = false;
#pragma unroll
	for (int at = 0; at < BUCKET_WAYS; at++)
		if (set->ways[at].source == source)
			way = at;
	way = blur(packet, way, 7);
	if (way < BUCKET_WAYS)
		return way;
	way = BUCKET_WAYS;
#pragma unroll
	for (int at = 0; at < BUCKET_WAYS; at++)
		if (set->ways[at].full_at <= now)
			way = at;
	way = blur(packet, way, 7);
	*is_new = way < BUCKET_WAYS;
	return way;
}

/* False when the packet is over the limit. Without `takes` nothing is written. */
static __always_inline bool take_token(const struct packet *packet, __u64 source, __u64 seed, __u64 now, __u64 cost,
				       bool takes)
{
	__u32 index = bucket_set_of(source, seed);
	struct bucket_set *set = bpf_map_lookup_elem(&buckets, &index);
	__u64 *full_at, until;
	bool is_new;

	if (!set)
		return true;
	index = find_way(packet, set, source, now, &is_new);
	if (is_new && takes)
		*(volatile __u64 *)&set->ways[index].source = source;
	full_at = &set->ways[index].full_at;
	until = *(volatile __u64 *)full_at;
	if (until > now) {
		if (until + cost > now + BURST_TICKS)
			return false;
		if (takes)
			__sync_fetch_and_add(full_at, cost);
	} else if (takes) {
		*(volatile __u64 *)full_at = now + cost;
	}
	return true;
}
