// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The floor that programs at tc are measured against. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int next_all(struct __sk_buff *skb)
{
	return TCX_NEXT;
}
