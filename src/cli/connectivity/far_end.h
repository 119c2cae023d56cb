// The server of the connectivity test: answers on TCP and UDP with its name and the client that it saw, and DNS
// questions about a few names.
//
//   TCP, one line each:   "bulk N" -> N bytes; anything else -> "NAME CLIENT-ADDRESS\n"
//   UDP, each datagram:   "NAME CLIENT-ADDRESS\n", padded with zeros to the size of the datagram
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "net/address.h"

namespace beeline::cli {

struct FarEndPlan {
    std::string name;
    std::vector<net::Ip> bind; // empty: every address of the machine
    std::vector<std::uint16_t> tcp;
    std::vector<std::uint16_t> udp;
    bool dns = false;                                      // on port 53, UDP and TCP
    std::map<std::string, std::vector<net::Ip>> dns_names; // lower case
};

// "name=address,address"
Result<std::pair<std::string, std::vector<net::Ip>>> parse_dns_name(std::string_view text);

class FarEnd {
public:
    static Result<FarEnd> open(const FarEndPlan& plan);
    // Where it listens; useful for ports that were given as 0.
    [[nodiscard]] const std::vector<std::uint16_t>& tcp_ports() const { return tcp_ports_; }
    [[nodiscard]] const std::vector<std::uint16_t>& udp_ports() const { return udp_ports_; }

    // Serves until the process ends.
    [[noreturn]] void serve();

private:
    enum class Kind { listen, udp, connection };
    struct Socket {
        Fd fd;
        Kind kind = Kind::listen;
        bool dns = false;
        std::string peer;
        std::string in;
        std::string out;
    };
    explicit FarEnd(FarEndPlan plan) : plan_(std::move(plan)) {}
    Result<std::uint16_t> add(const net::Ip* address, std::uint16_t port, int type, bool dns);
    Result<> add_all(std::uint16_t port, int type, bool dns, std::vector<std::uint16_t>& ports);
    void accept(std::size_t index);
    void answer_datagrams(Socket& socket);
    void read(Socket& socket);
    void take_lines(Socket& socket);
    void take_questions(Socket& socket);
    static void write(Socket& socket);
    [[nodiscard]] std::string answer_dns(std::string_view question, std::size_t limit) const;

    FarEndPlan plan_;
    std::vector<Socket> sockets_;
    std::vector<std::uint16_t> tcp_ports_;
    std::vector<std::uint16_t> udp_ports_;
};

} // namespace beeline::cli
