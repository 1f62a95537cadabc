// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "policy-table.h"
#include "policy-flow.h"
#include "settle.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The map index is the reason. Faults follow REASON_FAULT. */
enum policy_reason {
	REASON_ALLOWED, /* by a rule, or for all tables by several */
	REASON_ALLOWED_BY_DEFAULT, /* no rule is about it, and what no rule is about is allowed */
	REASON_ESTABLISHED, /* goes on with a flow that was allowed */
	REASON_REPLY,
	REASON_RELATED, /* an ICMP error about a flow that was allowed */
	REASON_KEPT, /* the flow ceased to be allowed, and lives on as its policy says */
	REASON_UNRESTRICTED, /* no policy is about this direction */
	REASON_NOT_JUDGED, /* no policy is about this endpoint */
	REASON_NEIGHBOUR, /* ARP, or IPv6's discovery of neighbours */
	REASON_DENIED, /* by a rule */
	REASON_DEFAULT_DENY,
	REASON_REVOKED, /* the flow was allowed, and is no more */
	REASON_NOT_IP,
	REASON_FRAGMENT_WITHOUT_FIRST,
	REASON_MAPPED_ADDRESS, /* an IPv4 address written as IPv6 */
	REASON_NO_TABLE,
	REASON_FAULT = 31,
};
EXPORT_TYPE(enum, policy_reason);

enum policy_layout {
	LAYOUT_LINE_BYTES = POLICY_LINE,
	LAYOUT_TIERS = POLICY_TIERS,
	LAYOUT_NO_LENGTH = POLICY_NO_LENGTH,
	LAYOUT_BUCKET_LINES = POLICY_BUCKET_LINES,
	LAYOUT_LENGTH_LINES = POLICY_LENGTH_LINES,
	LAYOUT_ENDPOINT_WAYS = ENDPOINT_WAYS,
	LAYOUT_ADDRESS_WAYS = ADDRESS_WAYS,
	LAYOUT_CELL_WAYS = CELL_WAYS,
};
EXPORT_TYPE(enum, policy_layout);
EXPORT_TYPE(struct, policy_header);
EXPORT_TYPE(struct, policy_endpoint);
EXPORT_TYPE(struct, verdict_table);
EXPORT_TYPE(struct, ranked_rule);
EXPORT_TYPE(enum, port_space);
EXPORT_TYPE(enum, rule_flag);
EXPORT_TYPE(enum, flow_direction);
EXPORT_TYPE(enum, flow_state);
EXPORT_TYPE(enum, flow_flag);

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__type(key, __u32);
	__uint(value_size, sizeof(__u32));
	__uint(max_entries, 1);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__type(key, __u32);
		__type(value, struct policy_line);
		__uint(max_entries, 1);
		__uint(map_flags, BPF_F_INNER_MAP);
	});
} table SEC(".maps");

SEC("tc")
int policy_ingress(struct __sk_buff *skb)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&table, &zero) || bpf_map_lookup_elem(&flows4, &zero) ? TCX_NEXT : TCX_DROP;
}
