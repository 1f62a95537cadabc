/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What each rule decided, by the slot of the table's rules. */
#pragma once

#include "counters.h"

#include <bpf/bpf_core_read.h>

#define COUNTER_SLOTS 256

/* By slot: rule index → counter, one per CPU. The slot is the table's. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__type(key, __u32);
	__uint(value_size, sizeof(__u32));
	__uint(max_entries, COUNTER_SLOTS);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
		__type(key, __u32);
		__type(value, struct counter);
		__uint(max_entries, 1);
	});
} counters SEC(".maps");

/*
 * The slots' maps differ in size. Where bpf_map_lookup_elem() on maps per CPU is inlined (Linux 6.10), it checks
 * the index by the size of the map that the outer one was made with; this one asks the map itself.
 */
static __always_inline void count_slot(__u32 slot, __u32 rule, __u64 bytes)
{
	void *hits = bpf_map_lookup_elem(&counters, &slot);
	struct counter *counter;

	if (!hits)
		return;
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_map_lookup_percpu_elem))
		counter = bpf_map_lookup_percpu_elem(hits, &rule, bpf_get_smp_processor_id());
	else
		counter = bpf_map_lookup_elem(hits, &rule);
	if (!counter)
		return;
	counter->packets += 1;
	counter->bytes += bytes;
}
