// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Counts the TCP connections of one pod's cgroup. Attached as sock_ops; it changes nothing. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <stdbool.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define MAX_TRACKED (1 << 18)

/* The map index is the event. */
enum connection_event {
	CONNECTION_OPENED,
	CONNECTION_ACCEPTED,
	CONNECTION_CLOSED,
	CONNECTION_RETRANSMITTED,
	CONNECTION_UNTRACKED, /* opened or accepted while `tracked` was full: its end will not be seen */
	CONNECTION_EVENT_COUNT,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, CONNECTION_EVENT_COUNT);
} connections SEC(".maps");

/*
 * Cookies of the sockets whose connection was counted. The flags that ask for later events belong to
 * the socket, not to a program: events also come for connections that only another program, or an
 * earlier one, counted.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u64);
	__type(value, __u8);
	__uint(max_entries, MAX_TRACKED);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} tracked SEC(".maps");

static __always_inline void count(__u32 event)
{
	__u64 *total = bpf_map_lookup_elem(&connections, &event);

	if (total)
		*total += 1;
}

static __always_inline void watch(struct bpf_sock_ops *socket, __u32 event)
{
	__u64 cookie = bpf_get_socket_cookie(socket);
	__u8 is_tracked = 1;

	count(event);
	if (bpf_map_update_elem(&tracked, &cookie, &is_tracked, BPF_ANY))
		count(CONNECTION_UNTRACKED);
	bpf_sock_ops_cb_flags_set(socket, socket->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG |
						  BPF_SOCK_OPS_RETRANS_CB_FLAG);
}

static __always_inline bool is_tracked(struct bpf_sock_ops *socket)
{
	__u64 cookie = bpf_get_socket_cookie(socket);

	return bpf_map_lookup_elem(&tracked, &cookie);
}

static __always_inline void forget(struct bpf_sock_ops *socket)
{
	__u64 cookie = bpf_get_socket_cookie(socket);

	if (!bpf_map_delete_elem(&tracked, &cookie))
		count(CONNECTION_CLOSED);
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
		if (socket->args[1] == BPF_TCP_CLOSE)
			forget(socket);
		break;
	case BPF_SOCK_OPS_RETRANS_CB:
		if (is_tracked(socket))
			count(CONNECTION_RETRANSMITTED);
		break;
	}
	return 1;
}
