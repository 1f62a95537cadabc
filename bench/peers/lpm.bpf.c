// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The plain way to a blacklist: one lookup in the kernel's longest-prefix trie. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define ETHERNET_BYTES 14
#define IPV4_SOURCE_OFFSET 12
#define ETHERTYPE_OFFSET 12
#define ETH_P_IP 0x0800

struct prefix_key {
	__u32 length;
	__be32 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct prefix_key);
	__type(value, __u32);
	__uint(max_entries, 100000);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} prefixes SEC(".maps");

SEC("xdp")
int drop_listed(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct prefix_key key = {.length = 32};

	if (data + ETHERNET_BYTES + 20 > end)
		return XDP_PASS;
	if (*(__be16 *)(data + ETHERTYPE_OFFSET) != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	key.address = *(__be32 *)(data + ETHERNET_BYTES + IPV4_SOURCE_OFFSET);
	return bpf_map_lookup_elem(&prefixes, &key) ? XDP_DROP : XDP_PASS;
}
