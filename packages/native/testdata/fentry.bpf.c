// SPDX-License-Identifier: GPL-2.0-only
/* Watches a function of the kernel. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("fentry/do_exit")
int watch_exit(void *ctx)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
