// What may be remembered of payloads, and how much memory that may take.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace beeline::observe::l7 {

struct Options {
    bool redact =
        true; // secrets of headers, URLs, statements and keys; passwords are never kept, whatever this says
    std::vector<std::string> headers; // kept besides the few that always are; lower case
    std::vector<std::string>
        secrets;                // more names (of query parameters) that are secrets; lower case
    std::size_t max_text = 512; // of each text of a message; longer ones are cut
    std::size_t max_connections = 16384; // the one unused for the longest time is forgotten
    std::size_t max_memory = 64UL << 20; // of payload that waits for its rest, all connections
    std::size_t max_buffer = 16UL << 10; // of one direction: the longest head of a message
    std::size_t max_held =
        32UL << 10; // of one connection: payload that arrived before earlier payload
    std::size_t max_held_chunks = 16;    //
    std::size_t max_outstanding = 256;   // requests of a connection without an answer
    std::uint64_t hole_ns = 200'000'000; // payload that has not come by then was lost
    std::uint64_t idle_ns =
        600'000'000'000; // a connection that said nothing for so long is forgotten
};

} // namespace beeline::observe::l7
