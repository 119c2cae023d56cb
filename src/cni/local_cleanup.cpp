#include "cni/local_cleanup.h"

#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "net/cni_protocol.h"
#include "net/namespace.h"
#include "net/netlink.h"

namespace beeline::cni {

Result<> remove_interface(const std::string& container, const std::string& interface,
                          const std::string& netns) {
    const std::string host = net::host_interface_name(container, interface);
    auto here = TRY(net::Netlink::open());
    const auto removed = here.run(net::delete_link(host));
    if (removed || removed.error().code != Code::not_found || netns.empty()) {
        return removed || removed.error().code == Code::not_found ? Result<>{} : removed;
    }
    // The plugin may run in another network namespace than the agent.
    const auto space = net::Namespace::open(netns);
    if (!space) return {};
    auto inside = TRY(net::Netlink::open_in(*space));
    const auto link = inside.link(interface);
    if (!link || link->alias != host) return {};
    return inside.run(net::delete_link(link->index));
}

std::string Tombstones::file_of(const std::string& container, const std::string& interface) const {
    // Container ids may be longer than file names.
    return fmt::format("{}/{}.json", folder_, net::host_interface_name(container, interface));
}

Result<> Tombstones::write(const std::string& container, const std::string& interface,
                           std::string_view body) const {
    TRY(make_folder(folder_));
    std::error_code error;
    std::size_t count = 0;
    for (auto entry = std::filesystem::directory_iterator(folder_, error);
         entry != std::filesystem::directory_iterator(); ++entry) {
        ++count;
    }
    if (count >= kMost) return fail(Code::exhausted, "'{}' has {} notes already", folder_, count);
    return replace_file(file_of(container, interface), body, Durable::no);
}

void Tombstones::erase(const std::string& container, const std::string& interface) const {
    ::unlink(file_of(container, interface).c_str());
}

} // namespace beeline::cni
