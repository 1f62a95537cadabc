/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Flows whose rule asks for it are told, in the ring of events, by records that are shorter than those of samples. */
#pragma once

#include "policy-bucket.h"
#include "policy-opening.h"

/* For each of one rule, and of all together. */
const volatile __u32 log_ns = SECOND_NS / 100;
const volatile __u32 all_log_ns = SECOND_NS / 500;

struct logged_flow {
	__u64 time_ns; /* since boot, without suspend */
	__u64 serial; /* of the table */
	struct flow_key key;
	__u32 rule; /* index in the counters of that table */
	__u32 missed; /* of the rule, so far: there were too many of them */
	__u8 opened; /* enum flow_direction */
	__u8 is_ipv6;
	__u8 drops;
	__u8 icmp_type;
	__u32 length;
	__u32 counters; /* slot of that table's */
};
_Static_assert(sizeof(struct logged_flow) == 80, "map ABI: regenerate the codecs");

/* More rules than so many have no room in a table; there are 256 slots. */
#define LOG_SLOT_SHIFT 24

struct log_bucket {
	__u64 full_at; /* as in token-bucket.h */
	__u64 missed;
};

/* By the index of the rule, and the slot of the counters that it is an index in; 0: of all. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, __u32);
	__type(value, struct log_bucket);
	__uint(max_entries, 1); /* from user space */
} log_buckets SEC(".maps");

static __always_inline struct log_bucket *log_bucket_of(__u32 key)
{
	struct log_bucket fresh = {}, *bucket = bpf_map_lookup_elem(&log_buckets, &key);

	if (bucket)
		return bucket;
	bpf_map_update_elem(&log_buckets, &key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&log_buckets, &key);
}

/* A second's worth at once. */
static __always_inline bool may_log(struct log_bucket *bucket, __u32 cost_ns, __u64 now_ns)
{
	return take(&bucket->full_at, now_ns, cost_ns, SECOND_NS - cost_ns);
}

/* Of the packet in hand, as it is ruled. Global, so that the verifier follows it once. */
__noinline int log_flow(__u32 length)
{
	struct work *work = work_in_hand();
	__u64 now_ns = bpf_ktime_get_ns();
	struct log_bucket *all, *own;
	struct logged_flow *told;

	if (!work)
		return 0;
	all = log_bucket_of(0);
	own = log_bucket_of(work->counters << LOG_SLOT_SHIFT | work->ruling.logs);
	if (!all || !own)
		return 0;
	if (!may_log(own, log_ns, now_ns) || !may_log(all, all_log_ns, now_ns))
		goto missed;
	told = bpf_ringbuf_reserve(&events, sizeof(*told), 0);
	if (!told) {
		count_lost(LOST_FLOW);
		goto missed;
	}
	told->time_ns = now_ns;
	told->serial = work->serial;
	told->key = work->view.key;
	told->rule = work->ruling.logs;
	told->missed = own->missed;
	told->opened = work->opened;
	told->is_ipv6 = work->view.is_ipv6;
	told->drops = work->ruling.drops;
	told->icmp_type = work->view.icmp_type;
	told->length = length;
	told->counters = work->counters;
	bpf_ringbuf_submit(told, 0);
	return 0;
missed:
	__sync_fetch_and_add(&own->missed, 1);
	return 0;
}
