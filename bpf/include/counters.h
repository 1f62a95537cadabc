/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a program counts: packets and bytes per reason and per rule.
 *
 * `reasons` is kept when a declaration changes, so its size never depends on one: an enum of reasons
 * only ever grows at its end. `hits` belongs to one list of rules; user space carries its counts over
 * to the next list (struct rule_base, packages/kernel/src/carry.ts).
 */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* Types that no map mentions, for the codecs. libbpf skips the section. */
#define EXPORT_TYPE(kind, name) const kind name *export_##name SEC("types") __attribute__((unused))

#define REASON_SLOTS 64

struct counter {
	__u64 packets;
	__u64 bytes;
};
_Static_assert(sizeof(struct counter) == 16, "map ABI: regenerate the codecs");

/* Entry of the map beside `hits` that only user space writes. */
struct rule_base {
	__u64 rule_id;
	__u64 packets;
	__u64 bytes;
};
EXPORT_TYPE(struct, rule_base);

/* Reason → counter, one per CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct counter);
	__uint(max_entries, REASON_SLOTS);
} reasons SEC(".maps");

#ifndef RULES_COUNT_ELSEWHERE
/* Rule index → counter, one per CPU; index 0 is "no rule". */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct counter);
	__uint(max_entries, 1);
} hits SEC(".maps");
#endif

/* A per-CPU value is written by one CPU, in a context that no other of ours interrupts on that CPU. */
static __always_inline void count_in(void *map, __u32 index, __u64 bytes)
{
	struct counter *counter = bpf_map_lookup_elem(map, &index);

	if (!counter)
		return;
	counter->packets += 1;
	counter->bytes += bytes;
}

static __always_inline void count_reason(__u32 reason, __u64 bytes)
{
	count_in(&reasons, reason, bytes);
}

#ifndef RULES_COUNT_ELSEWHERE
static __always_inline void count_rule(__u32 rule, __u64 bytes)
{
	count_in(&hits, rule, bytes);
}
#endif
