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
/* In lists of lengths, their end; in a bucket of addresses, a free entry. */
#define POLICY_NO_LENGTH 255
/* A bucket whose first line is full goes on in another one: so many lines at most. */
#define POLICY_BUCKET_LINES 3
#define POLICY_LENGTH_LINES 3

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

/* Line 1: what packets of known flows do not need. */
struct policy_annex {
	__u32 owners, owner_mask; /* struct address_bucket, by enum owner_mark */
	__u32 names; /* line of struct policy_names; 0: no rule is about names */
	__u32 effects, effect_lines; /* of two struct rule_effect, by the index of the rule's counter; 0: none */
	__u32 unused[11];
};
_Static_assert(sizeof(struct policy_annex) == POLICY_LINE, "a line");

/*
 * An automaton over names of DNS. Each state is two lines of next states, numbered from 1, by the symbol of a
 * character, 0 where no pattern goes on; in place of symbol 0 the class of the name that ends there. Names that the
 * same patterns match are one class, those with class 0 are matched by none.
 */
struct policy_names {
	__u64 serial; /* of the patterns: the lower 48 bits */
	__u32 states; /* line of state 1 */
	__u32 peer_classes; /* classes from 1 on of names that peers are known by; others may only be asked for */
	__u32 first_row; /* in the rows of tables of names: that of class 1 */
	__u32 world_classes; /* classes of addresses below are neither of pods nor of nodes */
	__u32 unused[10];
};
_Static_assert(sizeof(struct policy_names) == POLICY_LINE, "a line");

struct policy_endpoint {
	__u32 ifindex; /* 0: free */
	__u32 next; /* of the first: line in which the bucket goes on; 0: none */
	/* Lines of struct verdict_table; 0: none, nor behind it. */
	__u32 ingress[POLICY_TIERS], egress[POLICY_TIERS];
};

/* In place of the index of an interface: the node itself, whatever interface it uses. */
enum endpoint_number { ENDPOINT_NONE = 0, ENDPOINT_HOST = 0x7fffffff };

#define ENDPOINT_WAYS 2

struct endpoint_bucket {
	struct policy_endpoint entries[ENDPOINT_WAYS];
};
_Static_assert(sizeof(struct endpoint_bucket) == POLICY_LINE, "a line");

#define ADDRESS_WAYS 3

struct address_bucket {
	__u64 high[ADDRESS_WAYS], low[ADDRESS_WAYS]; /* masked */
	__u32 entries[ADDRESS_WAYS]; /* length << 24 | class; POLICY_NO_LENGTH: free; of owners: the endpoint, 0: free */
	__u32 next; /* line in which the bucket goes on; 0: none */
};
_Static_assert(sizeof(struct address_bucket) == POLICY_LINE, "a line");

/*
 * Addresses of endpoints stand with the index of the interface. With this bit: 0.0.0.0 where all of IPv4 that it has
 * are there, :: where those of IPv6 are, and the first half of each that others on its link share.
 */
enum owner_mark { OWNER_ITSELF = 0, OWNER_OF_MORE = 1U << 31 };

enum port_space { PORTS_TCP, PORTS_UDP, PORTS_SCTP, PORTS_ICMP, PORTS_ICMPV6, PORTS_OTHERS };
#define PORT_SPACES 6

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
	__u32 flags; /* enum table_flag */
	__u32 connection_ns; /* for each that the endpoint begins, of a second; 0: any number */
	__u32 most_connections; /* that it may have open; 0: any number */
	__u32 unused[2];
};
_Static_assert(sizeof(struct verdict_table) == POLICY_LINE, "a line");

/* TABLE_OF_PORTS: what it refuses is told as blocked at a port. TABLE_OF_NAMES: rows go on behind those of addresses. */
enum table_flag { TABLE_OF_PORTS = 1, TABLE_OF_NAMES = 2 };

/* Whatever a question asks for. */
#define ANY_NAME 0xffffffffU

struct ranked_rule {
	__u32 rule; /* index of its counter; 0: none */
	__u32 flags; /* enum rule_flag */
	/* Lines of bits, by class: names that DNS may ask for; 0: its messages are not looked at. */
	__u32 names;
	__u32 unused;
};

/* RULE_OF_HOST: lets this node reach its pods, whose connections are not limited for it. */
enum rule_flag { RULE_DROPS = 1, RULE_KEEPS_FLOWS = 2, RULE_HAS_EFFECT = 4, RULE_LOGS = 8, RULE_OF_HOST = 16 };

enum effect_flag { EFFECT_NONE = 0, EFFECT_MARKS = 1 };

/*
 * How many bytes each second, without a division for each packet: packages/features/src/policy/pace.ts. A byte's
 * nanoseconds are a number of less than 2^43, whose fraction has as many bits as the last PACE_BITS say.
 */
#define PACE_BITS 6

struct pace {
	__u64 byte_time; /* 0: any number of bytes */
	__u64 burst_ns;
};

struct rule_effect {
	struct pace pace;
	__u64 rule_id;
	__u32 mark; /* a DSCP, of six bits */
	__u32 flags; /* enum effect_flag */
};
_Static_assert(sizeof(struct rule_effect) * 2 == POLICY_LINE, "two in a line");

struct rate_key {
	__u32 ifindex;
	__u32 unused;
	__u64 rule_id;
};

#define CELL_WAYS 5

struct cell_bucket {
	__u32 tables[CELL_WAYS]; /* 0: free */
	__u32 places[CELL_WAYS]; /* row << 16 | column */
	__u32 ranks[CELL_WAYS];
	__u32 next; /* line in which the bucket goes on; 0: none */
};
_Static_assert(sizeof(struct cell_bucket) == POLICY_LINE, "a line");

/* packages/features/src/policy/table/hash.ts is the same. */

#define POLICY_KEY1 0x9e3779b1U
#define POLICY_KEY2 0x85ebca77U
#define POLICY_KEY3 0xc2b2ae3dU
#define POLICY_KEY4 0x27d4eb2fU
#define POLICY_KEY5 0x165667b1U

static __always_inline __u32 policy_mix(__u64 sum)
{
	__u32 hash = (__u32)(sum >> 32) ^ (__u32)sum;

	hash *= POLICY_KEY1;
	hash ^= hash >> 15;
	hash *= POLICY_KEY2;
	return hash ^ hash >> 13;
}

/* One product of 64 bits for each pair of words, of which the seed decides both factors (the NH of RFC 4418). */
static __always_inline __u64 policy_product(__u32 seed, __u32 a, __u32 key_a, __u32 b, __u32 key_b)
{
	return (__u64)(__u32)(a + (seed ^ key_a)) * (__u32)(b + (seed ^ key_b));
}

static __always_inline __u32 policy_hash_pair(__u32 seed, __u32 a, __u32 b)
{
	return policy_mix(policy_product(seed, a, POLICY_KEY1, b, POLICY_KEY2));
}

static __always_inline __u32 policy_hash_address(__u32 seed, __u64 high, __u64 low, __u32 length)
{
	return policy_mix(
		policy_product(seed, (__u32)(high >> 32) + length * POLICY_KEY5, POLICY_KEY1, high, POLICY_KEY2) +
		policy_product(seed, low >> 32, POLICY_KEY3, low, POLICY_KEY4));
}
