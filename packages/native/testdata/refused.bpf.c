// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The verifier must refuse the first program: it reads a packet without asking for its end.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp")
int unchecked(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data;

	return data[100] ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int harmless(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
