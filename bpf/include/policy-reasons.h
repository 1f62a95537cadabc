/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

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
	REASON_NO_TABLE, /* nothing can be decided */
	REASON_MALFORMED_SCTP,
	REASON_CONNECTION_RATE, /* the endpoint begins too many connections */
	REASON_NO_CONNECTION, /* no SYN, of a connection without a record that this end may not open */
	REASON_SOURCE_NOT_OWN, /* the endpoint sends with an address that it does not have */
	REASON_NO_BACKEND, /* of a Service */
	REASON_SERVICE_IS_ITSELF, /* the endpoint is all that there is behind the Service */
	REASON_SERVICE_PORT_TAKEN, /* another flow of the endpoint would get the answers */
	REASON_SERVICE_SCTP_PORT, /* its port is not the back end's, and SCTP's checksum cannot be made anew */
	REASON_TRANSLATION_LOST, /* it answers what was sent to a Service, and nobody knows to which */
	REASON_EDITED_MEANWHILE, /* the table changed while it was between two endpoints of the node */
	REASON_DNS_NAME_REFUSED, /* a question for a name that no rule of the port names */
	REASON_RATE_LIMIT, /* of the rule that allows it */
	REASON_BANDWIDTH_LIMIT, /* of the endpoint */
	REASON_CONNECTION_LIMIT, /* the endpoint has too many connections open */
	REASON_FORWARDED, /* neither to nor from the node itself */
	REASON_FAULT = 31,
};
