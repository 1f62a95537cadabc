/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How many connections an endpoint may begin each second. */
#pragma once

#include "policy-bucket.h"

/*
 * By the index of the interface: the time at which the endpoint's bucket will be full again, as in token-bucket.h.
 * Each connection moves it on; one that would move it further than a burst ahead, a second's worth, is too many.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1); /* from user space */
} connection_rates SEC(".maps");

/*
 * False when it is over the limit; at the limit each CPU may let one more pass at once, which is charged. Index and
 * `scratch` are in a map, since the stack is full.
 */
static __always_inline bool may_begin(const __u32 *ifindex, __u32 cost_ns, __u64 now_ns, __u64 *scratch)
{
	return take(bucket_of(&connection_rates, ifindex, scratch), now_ns, cost_ns, SECOND_NS - cost_ns);
}
