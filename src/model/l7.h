// What one message of an application protocol said: of a request, of its answer, or of a DNS query and its answer.
// Secrets are gone before a value of this type exists (src/observe/l7 redacts).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/address.h"

namespace beeline::model {

// X(name, what people read)
#define BEELINE_L7_PROTOCOLS(X)                                                                    \
    X(http, "http") /* 1.0 and 1.1 */                                                              \
    X(http2, "http2")                                                                              \
    X(grpc, "grpc")                                                                                \
    X(dns, "dns")                                                                                  \
    X(kafka, "kafka")                                                                              \
    X(redis, "redis")                                                                              \
    X(postgresql, "postgresql")                                                                    \
    X(mysql, "mysql")                                                                              \
    X(mongodb, "mongodb")                                                                          \
    X(amqp, "amqp")                                                                                \
    X(nats, "nats")                                                                                \
    X(memcached, "memcached")                                                                      \
    X(cassandra, "cassandra")

struct L7 {
    enum class Protocol : std::uint8_t {
#define X(name, text) name,
        BEELINE_L7_PROTOCOLS(X)
#undef X
            count
    };
    // Every request makes a value when it was read whole, every answer another one, which repeats the request's fields.
    enum class Type : std::uint8_t { request, response };
    enum class Status : std::uint8_t { unknown, ok, error };
    struct Dns {
        std::vector<net::Ip> addresses; // A and AAAA of the answer
        std::vector<std::string> names; // CNAMEs of the answer
        std::vector<std::uint16_t> question_types;
        std::vector<std::uint16_t> answer_types;
        std::uint32_t ttl_s = 0; // the smallest of the answer
    };

    Protocol protocol = Protocol::http;
    Type type = Type::request;
    Status status = Status::unknown; // of responses
    bool tls = false;                // read as plain text from the TLS library
    std::uint32_t code = 0; // HTTP status, gRPC status, DNS rcode, the protocol's own error number
    std::uint64_t latency_ns =
        0;              // of responses: from the request's first byte to the answer's; 0: not known
    std::string method; // "GET", "SELECT", "get", "Produce", "basic.publish", of gRPC "POST"
    std::string
        resource; // path without query, "/package.Service/Method", table, topic, key name, queried name
    std::string host;         // of HTTP: authority; of databases: the database where it is known
    std::string version;      // "HTTP/1.1", "HTTP/2"
    std::string url;          // of HTTP: the target with its query; of SQL: the statement; redacted
    std::string error;        // text of an error answer, redacted
    std::string trace_parent; // W3C traceparent of HTTP requests, as it was sent; empty: none
    std::vector<std::pair<std::string, std::string>> headers; // of HTTP, redacted; few
    std::uint64_t request_bytes = 0;                          // of bodies, where known
    std::uint64_t response_bytes = 0;
    Dns dns;
};

// What differs between messages that say the same otherwise, so that they can share one value; 0: the value says it.
struct L7Numbers {
    std::uint64_t latency_ns = 0;
    std::uint64_t request_bytes = 0;
    std::uint64_t response_bytes = 0;
};

std::string_view to_string(L7::Protocol protocol);

} // namespace beeline::model
