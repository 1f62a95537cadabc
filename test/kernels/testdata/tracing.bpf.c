// SPDX-License-Identifier: GPL-2.0-only
/* Counts how often what it watches was called; by processes that are named `poke` alone. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

static __always_inline int count(void)
{
	char name[16] = {};
	__u32 key = 0;
	__u64 *total = bpf_map_lookup_elem(&calls, &key);

	bpf_get_current_comm(name, sizeof(name));
	if (total && name[0] == 'p' && name[1] == 'o' && name[2] == 'k' && name[3] == 'e' && name[4] == '\0')
		__sync_fetch_and_add(total, 1);
	return 0;
}

SEC("kprobe/anything")
int on_call(void *ctx)
{
	return count();
}

SEC("kretprobe")
int on_return(void *ctx)
{
	return count();
}

SEC("kprobe.multi")
int on_calls(void *ctx)
{
	return count();
}

SEC("uprobe")
int on_poke(void *ctx)
{
	return count();
}

SEC("uretprobe")
int on_poked(void *ctx)
{
	return count();
}

SEC("uprobe.multi")
int on_pokes(void *ctx)
{
	return count();
}

SEC("fentry/" WATCHED)
int fentry_of_section(void *ctx)
{
	return count();
}

SEC("fentry")
int fentry_of_config(void *ctx)
{
	return count();
}

SEC("fentry/no_such_function")
int fentry_of_nothing(void *ctx)
{
	return count();
}

SEC("fexit/" WATCHED)
int fexit_of_section(void *ctx)
{
	return count();
}

SEC("fexit/do_exit")
int fexit_of_config(void *ctx)
{
	return count();
}

char _license[] SEC("license") = "GPL";
