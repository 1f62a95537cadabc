// SPDX-License-Identifier: GPL-2.0-only
/* Its map is defined as before libbpf 1.0. */
#include <linux/bpf.h>

#define SEC(name) __attribute__((section(name), used))

struct bpf_map_def {
	unsigned int type;
	unsigned int key_size;
	unsigned int value_size;
	unsigned int max_entries;
	unsigned int map_flags;
};

struct bpf_map_def SEC("maps") stats = {
	.type = BPF_MAP_TYPE_PERCPU_ARRAY,
	.key_size = 4,
	.value_size = 16,
	.max_entries = 5,
};

SEC("xdp/pass")
int pass(struct xdp_md *ctx)
{
	return ctx->data == 0 && &stats ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
