// What DEL does when the agent is down.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace beeline::cni {

// Removes the interface that Beeline made for this attachment, and never one of another plugin: by the name of the host's
// end in this network namespace, else inside the container's, where the interface bears that name as its alias. Nothing to
// remove is success.
Result<> remove_interface(const std::string& container, const std::string& interface,
                          const std::string& netns);

// Notes of DELs for the agent's next start: one file each, named after the attachment, with the body of the API call.
class Tombstones {
public:
    static constexpr std::size_t kMost = 1024;

    explicit Tombstones(std::string folder) : folder_(std::move(folder)) {}
    // `exhausted` when there are too many already.
    Result<> write(const std::string& container, const std::string& interface,
                   std::string_view body) const;
    // Idempotent.
    void erase(const std::string& container, const std::string& interface) const;

private:
    [[nodiscard]] std::string file_of(const std::string& container,
                                      const std::string& interface) const;
    std::string folder_;
};

} // namespace beeline::cni
