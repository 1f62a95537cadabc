// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Counts the TCP connections of one pod's cgroup. Attached as sock_ops; it changes nothing. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The map index is the event. */
enum connection_event {
	CONNECTION_OPENED,
	CONNECTION_ACCEPTED,
	CONNECTION_CLOSED,
	CONNECTION_RETRANSMITTED,
	CONNECTION_EVENT_COUNT,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, CONNECTION_EVENT_COUNT);
} connections SEC(".maps");

static __always_inline void count(__u32 event)
{
	__u64 *total = bpf_map_lookup_elem(&connections, &event);

	if (total)
		*total += 1;
}

static __always_inline void watch(struct bpf_sock_ops *socket, __u32 event)
{
	count(event);
	bpf_sock_ops_cb_flags_set(socket, socket->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG |
						  BPF_SOCK_OPS_RETRANS_CB_FLAG);
}

SEC("sockops")
int count_connections(struct bpf_sock_ops *socket)
{
	switch (socket->op) {
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		watch(socket, CONNECTION_OPENED);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		watch(socket, CONNECTION_ACCEPTED);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		/* Asked for only once a connection is established, so each counts once here. */
		if (socket->args[1] == BPF_TCP_CLOSE)
			count(CONNECTION_CLOSED);
		break;
	case BPF_SOCK_OPS_RETRANS_CB:
		count(CONNECTION_RETRANSMITTED);
		break;
	}
	return 1;
}
