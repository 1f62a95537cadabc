// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Turns live test-run frames into traffic: another source for each, out by one interface. */
#include "sources.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u32 out_ifindex;

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	take_source(ctx);
	return bpf_redirect(out_ifindex, 0);
}
