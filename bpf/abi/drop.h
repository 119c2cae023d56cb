/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Why a packet was dropped or an event was lost. Numbers of reasons that Hubble also has are
 * Hubble's; Beeline's own begin at 220. X(NAME, number, text)
 */
#ifndef BL_ABI_DROP_H
#define BL_ABI_DROP_H

#define BL_DROP_REASONS(X)                                                                       \
	X(INVALID_SOURCE_MAC, 130, "Invalid source mac")                                         \
	X(INVALID_SOURCE_IP, 132, "Invalid source ip")                                           \
	X(POLICY_DENIED, 133, "Policy denied")                                                   \
	X(INVALID_PACKET_DROPPED, 134, "Invalid packet")                                         \
	X(UNSUPPORTED_L3_PROTOCOL, 139, "Unsupported L3 protocol")                               \
	X(ERROR_WRITING_TO_PACKET, 141, "Error writing to packet")                               \
	X(UNKNOWN_L4_PROTOCOL, 142, "Unknown L4 protocol")                                       \
	X(CT_MAP_INSERTION_FAILED, 155, "CT: Map insertion failed")                              \
	X(REACHED_EDT_RATE_LIMITING_DROP_HORIZON, 162, "Reached EDT rate-limiting drop horizon") \
	X(FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND, 175,                                        \
	  "First logical datagram fragment not found")                                           \
	X(SERVICE_BACKEND_NOT_FOUND, 158, "Service backend not found")                           \
	X(POLICY_DENY, 181, "Policy denied by denylist")                                         \
	X(DROP_RATE_LIMITED, 198, "Rate limited")                                                \
	X(UNKNOWN_ENDPOINT, 220, "Interface belongs to no workload")                             \
	X(ENDPOINT_GONE, 221, "Destination workload is gone")                                    \
	X(UNRELATED_ICMP, 222, "ICMP error of no known connection")                              \
	X(SERVICE_TUPLE, 223, "Service connection collides with a direct one")                   \
	X(TUNNEL_SOURCE, 224, "Sent by another node than its source's")

enum bl_drop_reason {
	BL_DROP_NONE = 0,
#define X(name, number, text) BL_DROP_##name = number,
	BL_DROP_REASONS(X)
#undef X
};

#define BL_DROP_REASON_MAX 256
/* Index of bl_drop: the reason, and this when the packet was on its way into a workload. */
#define BL_DROP_INGRESS 256
#define BL_DROP_COUNTERS 512

/* What the kernel side counts besides drops: index into the per-CPU array bl_metric. X(name, help)
 */
#define BL_METRICS(X)                                                                 \
	X(flow_events, "flow events written to the ring")                             \
	X(flow_lost, "flow events lost because the ring was full")                    \
	X(ct_created, "connections created")                                          \
	X(ct_full, "connections refused because the table was full")                  \
	X(ct_expired, "connections removed by the sweep")                             \
	X(sock_storage_failed, "sockets whose owner could not be stored")             \
	X(sock_rev_failed, "reverse service entries that could not be stored")        \
	X(frag_failed, "fragment entries that could not be stored")                   \
	X(affinity_failed, "affinity entries that could not be stored")               \
	X(svc_translated_sock, "connections translated at the socket")                \
	X(svc_translated_packet, "connections translated in the packet path")         \
	X(svc_no_backend, "connections refused because the service has no backend")   \
	X(l7_chunks, "pieces of payload written to the ring")                         \
	X(l7_lost, "pieces of payload lost because the ring was full")                \
	X(l7_over_budget, "pieces of payload that a workload's budget did not allow") \
	X(l7_tls_unknown, "calls of a TLS library whose connection was not found")

enum bl_metric {
#define X(name, help) BL_METRIC_##name,
	BL_METRICS(X)
#undef X
		BL_METRIC_MAX
};

#endif
