// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The floor that filters are measured against, and what makes sources vary. */
#include "sources.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("xdp")
int drop_all(struct xdp_md *ctx)
{
	return XDP_DROP;
}

SEC("xdp")
int pass_all(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp")
int vary_source(struct xdp_md *ctx)
{
	take_source(ctx);
	return XDP_PASS;
}
