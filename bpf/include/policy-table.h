/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * All policy of a node in lines of 64 bytes (docs/adr/0023-policy-is-one-table.md);
 * packages/features/src/policy/table/write-table.ts writes them. Numbers are in host order,
 * addresses are two words of 64 bits in host order, the high one first, IPv4 as ::ffff:a.b.c.d.
 */
#pragma once

#include <linux/types.h>

#define POLICY_LINE 64
#define POLICY_TIERS 3
#define POLICY_NO_LENGTH 255

struct policy_line {
	__u32 words[POLICY_LINE / 4];
};

/* Line 0. Places are numbers of lines; masks are one less than a number of buckets, a power of two. */
struct policy_header {
	__u64 serial; /* never 0 */
	__u32 counters; /* slot of the counters of these rules */
	__u32 hash_seed;
	__u32 endpoints, endpoint_mask; /* struct endpoint_bucket */
	__u32 addresses, address_mask; /* struct address_bucket */
	__u32 cells, cell_mask; /* struct cell_bucket */
	__u32 unknown4, unknown6; /* classes of addresses that are not found */
	__u32 lengths4, lengths6; /* bytes, longest first, ended by POLICY_NO_LENGTH; without 128 */
	__u32 unused[2];
};
_Static_assert(sizeof(struct policy_header) == POLICY_LINE, "a line");

struct policy_endpoint {
	__u32 ifindex; /* 0: free */
	__u32 unused;
	__u32 tables[2][POLICY_TIERS]; /* ingress, egress: lines of struct verdict_table; 0: none */
};

struct endpoint_bucket {
	struct policy_endpoint entries[2];
};
_Static_assert(sizeof(struct endpoint_bucket) == POLICY_LINE, "a line");

struct address_bucket {
	__u64 high[3], low[3];
	__u32 entries[3]; /* length << 24 | class; high and low are masked; length 255: free */
	__u32 unused;
};
_Static_assert(sizeof(struct address_bucket) == POLICY_LINE, "a line");

enum port_space { PORTS_TCP, PORTS_UDP, PORTS_SCTP, PORTS_ICMP, PORTS_ICMPV6, PORTS_OTHER, PORT_SPACES };

/*
 * `ports` has the place of the root of each protocol, 0 where no port is named. A root is 16 lines: 256 places
 * of pages by the high byte of the port, 0 for column 0. A page is 8 lines: 256 columns of 16 bits.
 */
struct verdict_table {
	__u32 rows; /* lines of 32 rows of 16 bits, by class */
	__u32 row_count; /* classes */
	__u32 rules; /* lines of four struct ranked_rule, by rank */
	__u32 fallback; /* rank of what holds where no cell is found */
	__u32 ports[PORT_SPACES];
	__u32 number; /* in keys of cells; never 0 */
	__u32 unused[5];
};
_Static_assert(sizeof(struct verdict_table) == POLICY_LINE, "a line");

struct ranked_rule {
	__u32 rule; /* index of its counter; 0: none */
	__u32 flags; /* enum rule_flag */
	__u32 unused[2];
};

enum rule_flag { RULE_DROPS = 1, RULE_KEEPS_FLOWS = 2 };

struct cell_bucket {
	__u32 tables[5]; /* 0: free */
	__u32 places[5]; /* row << 16 | column */
	__u32 ranks[5];
	__u32 unused;
};
_Static_assert(sizeof(struct cell_bucket) == POLICY_LINE, "a line");
