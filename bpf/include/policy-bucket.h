/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Buckets as in token-bucket.h: each is the time at which it will be full again. Here they are entries of maps. */
#pragma once

#include "policy-flow.h"
#include "settle.h"

/* Full, if there was none yet; without one nothing is limited. `scratch` is in a map, where the stack is full. */
static __always_inline __u64 *bucket_of(void *buckets, const void *key, __u64 *scratch)
{
	__u64 *full_at = bpf_map_lookup_elem(buckets, key);

	if (full_at || dry_run)
		return full_at;
	*scratch = 0;
	bpf_map_update_elem(buckets, key, scratch, BPF_NOEXIST);
	return bpf_map_lookup_elem(buckets, key);
}

/*
 * False: the burst is used up. What takes the last of it passes whole and is charged whole. At the limit each CPU may
 * let one more pass, which is charged too. A full bucket is moved on by a plain store: the worst outcome is that what
 * other CPUs charge at this moment is forgotten, or that another's bucket is full that has the memory by now.
 */
static __always_inline bool take(__u64 *full_at, __u64 now_ns, __u64 cost_ns, __u64 burst_ns)
{
	__u64 until = full_at ? *(volatile __u64 *)full_at : 0;

	if (until > now_ns + burst_ns)
		return false;
	if (!full_at || dry_run)
		return true;
	if (until > now_ns)
		__sync_fetch_and_add(full_at, cost_ns);
	else
		*(volatile __u64 *)full_at = now_ns + cost_ns;
	return true;
}
