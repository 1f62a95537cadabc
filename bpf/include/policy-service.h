/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Services, translated where the pod's packets are judged (docs/adr/0025-services-are-translated-at-the-pod.md):
 * the lines that say them, as in policy-table.h, and what is kept of them.
 * packages/features/src/policy/services/write-services.ts writes the lines.
 */
#pragma once

#include "policy-packet.h"
#include "policy-table.h"

/* Line 0. */
struct service_directory {
	__u64 serial; /* never 0 */
	__u32 hash_seed;
	__u32 entries, entry_mask; /* struct service_bucket */
	__u32 unused[11];
};
_Static_assert(sizeof(struct service_directory) == POLICY_LINE, "a line");

struct service_entry {
	__u64 high, low;
	__u32 place; /* port << 16 | protocol */
	__u32 service; /* line; 0: free */
};

#define SERVICE_WAYS 2

struct service_bucket {
	struct service_entry entries[SERVICE_WAYS];
	__u32 next; /* line in which the bucket goes on; 0: none */
	__u32 unused[3];
};
_Static_assert(sizeof(struct service_bucket) == POLICY_LINE, "a line");

/* One port of a Service, in one family of addresses. */
struct service_port {
	__u64 id; /* the same in all tables */
	__u32 backends; /* lines of two struct service_backend, ascending */
	__u32 backend_count;
	__u32 affinity_seconds; /* 0: none */
	__u32 unused[11];
};
_Static_assert(sizeof(struct service_port) == POLICY_LINE, "a line");

#define SERVICE_BACKENDS 2

struct service_backend {
	__u64 high, low;
	__u32 port;
	__u32 unused[3];
};
_Static_assert(sizeof(struct service_backend) * SERVICE_BACKENDS == POLICY_LINE, "a line");

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
} services SEC(".maps");

/* In the upper half of the protocol, in keys of translations. */
enum translation_side {
	SIDE_OUT = 1 << 16, /* remote is the Service */
	SIDE_BACK = 2 << 16, /* remote is the back end */
	SIDE_FRAGMENT = 3 << 16, /* remote is the Service, ports are the identification */
	SIDE_IPV6 = 1 << 24,
};

/* What stands at the other side. */
struct translation {
	__be32 low, high[3];
	__be16 port;
	__u16 unused;
	__u32 tick; /* jiffies, when it was put */
	__u64 serial; /* of the services by which it was chosen, or found to be there still */
};
_Static_assert(sizeof(struct translation) == 32, "map ABI: regenerate the codecs");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct flow_key);
	__type(value, struct translation);
	__uint(max_entries, 1); /* from user space */
} translations SEC(".maps");

struct affinity_key {
	__u64 service;
	__u32 ifindex;
	__u32 unused;
};

struct affinity {
	__be32 low, high[3];
	__be16 port;
	__u16 unused[3];
	__u64 seen_ns;
};
_Static_assert(sizeof(struct affinity) == 32, "map ABI: regenerate the codecs");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct affinity_key);
	__type(value, struct affinity);
	__uint(max_entries, 1); /* from user space */
} affinities SEC(".maps");

/* What is known of the packet in hand, as a Service's: part of struct work. */
struct service_work {
	/* As the endpoint says it and as the back end does: when it sends, what is and what is to be; else the other way. */
	struct flow_key from, to;
	struct flow_key fragment;
	struct translation record;
	struct affinity_key affinity;
	struct affinity affinity_record;
	__u64 serial;
	__be32 identification;
	__u32 part; /* enum part */
	__u32 transport_at;
	__u32 refused; /* reason */
	__u32 line; /* of the Service's port */
	__u8 is_ipv6;
	__u8 is_translated; /* on its way out */
	__u8 is_known; /* `to` was on record */
	__u8 is_new; /* the record is to be made, or made anew */
	__u8 keeps_affinity;
	__u8 is_back; /* answers what was translated */
	__u8 is_guess; /* or perhaps does: its flow is not on record */
};
