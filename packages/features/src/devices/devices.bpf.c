// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Decides which device nodes the processes of one pod's cgroup may open or make.
 * Attached as cgroup_device: 1 allows, 0 is EPERM to the caller.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "counters.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define ANY_MINOR 0xffffffffU

/* The map index is the reason. */
enum device_reason {
	REASON_ALLOWED,
	REASON_NOT_LISTED,
	REASON_COUNT,
};

struct device_key {
	__u32 type; /* BPF_DEVCG_DEV_BLOCK or BPF_DEVCG_DEV_CHAR */
	__u32 major;
	__u32 minor;
};
_Static_assert(sizeof(struct device_key) == 12, "map ABI: regenerate the codecs");

/* Device → rule index. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct device_key);
	__type(value, __u32);
	__uint(max_entries, 1);
} allowed SEC(".maps");

SEC("cgroup/dev")
int check_device(struct bpf_cgroup_dev_ctx *access)
{
	struct device_key key = {
		.type = access->access_type & 0xffff,
		.major = access->major,
		.minor = access->minor,
	};
	__u32 *rule = bpf_map_lookup_elem(&allowed, &key);

	if (!rule) {
		key.minor = ANY_MINOR;
		rule = bpf_map_lookup_elem(&allowed, &key);
	}
	count_reason(rule ? REASON_ALLOWED : REASON_NOT_LISTED, 0);
	if (!rule)
		return 0;
	count_rule(*rule, 0);
	return 1;
}
