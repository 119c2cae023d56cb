// The listening socket of the local API.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "net/address.h"

namespace beeline::api {

// Listens on a unix socket at `path` with mode 0660, owned by `group` where the system has that
// group. Makes the folder (0755) when it is missing. A socket file that nobody answers on is
// replaced; an answer, or a file that is no socket, is an error.
Result<Fd> listen_unix(const std::string& path, const std::string& group = "beeline");

// "127.0.0.1:12000", "[::1]:12000".
struct TcpAddress {
    net::Ip ip;
    std::uint16_t port = 0;

    static Result<TcpAddress> parse(std::string_view text);
    [[nodiscard]] bool is_loopback() const;
    [[nodiscard]] std::string to_string() const;
};
Result<Fd> listen_tcp(const TcpAddress& address);

// The socket file, and no other that somebody else has put in its place meanwhile.
class SocketFile {
public:
    SocketFile() = default;
    explicit SocketFile(std::string path); // the file that `path` is now
    void remove() const;

private:
    std::string path_;
    unsigned long device_ = 0;
    unsigned long inode_ = 0;
};

} // namespace beeline::api
