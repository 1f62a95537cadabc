// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Floods a ring buffer from BPF_PROG_TEST_RUN with repeat.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 262144);
} events SEC(".maps");

__u64 submitted = 0;
__u64 lost = 0;

SEC("xdp")
int flood(struct xdp_md *ctx)
{
	__u64 *record = bpf_ringbuf_reserve(&events, 24, 0);

	if (!record) {
		__sync_fetch_and_add(&lost, 1);
		return XDP_DROP;
	}
	record[0] = __sync_fetch_and_add(&submitted, 1);
	record[1] = 0;
	record[2] = 0;
	bpf_ringbuf_submit(record, 0);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
