#include "cli/sysdump/archive.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "base/fd.h"

namespace beeline::cli {
namespace {

constexpr std::size_t kBlock = 512;
constexpr std::size_t kNameSize = 100;
constexpr std::size_t kPrefixSize = 155;

void put(std::string& header, std::size_t at, std::string_view text) {
    std::copy(text.begin(), text.end(), header.begin() + static_cast<std::ptrdiff_t>(at));
}

} // namespace

Result<std::string> tar_header(const std::string& name, std::uint64_t size, std::time_t when) {
    std::string_view base = name;
    std::string_view prefix;
    if (base.size() > kNameSize) {
        const auto slash = name.find('/', name.size() - kNameSize - 1);
        if (slash == std::string::npos || slash > kPrefixSize)
            return fail(Code::invalid, "'{}' is too long a name for an archive", name);
        prefix = base.substr(0, slash);
        base.remove_prefix(slash + 1);
    }
    std::string header(kBlock, '\0');
    put(header, 0, base);
    put(header, 100, "0000600");
    put(header, 108, "0000000");
    put(header, 116, "0000000");
    put(header, 124, fmt::format("{:011o}", size));
    put(header, 136, fmt::format("{:011o}", static_cast<std::uint64_t>(when)));
    put(header, 148, "        "); // the checksum is computed over blanks
    put(header, 156, "0");        // a plain file
    put(header, 257, std::string_view("ustar\00000", 8));
    put(header, 265, "root");
    put(header, 297, "root");
    put(header, 345, prefix);
    unsigned sum = 0;
    for (const char c : header)
        sum += static_cast<unsigned char>(c);
    put(header, 148, fmt::format("{:06o}", sum));
    header[154] = '\0';
    return header;
}

void Archive::Close::operator()(void* file) const { ::gzclose(static_cast<gzFile>(file)); }

Result<Archive> Archive::create(const std::string& path) {
    Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd) return fail_errno(errno, path);
    auto* file = ::gzdopen(fd.get(), "wb6");
    if (file == nullptr) return fail(Code::system, "zlib has no memory");
    (void)fd.release();
    return Archive(file, std::time(nullptr));
}

Result<> Archive::write(std::string_view bytes) {
    while (!bytes.empty()) {
        const auto part = static_cast<unsigned>(std::min<std::size_t>(bytes.size(), 1U << 20));
        if (::gzwrite(static_cast<gzFile>(file_.get()), bytes.data(), part) !=
            static_cast<int>(part))
            return fail_errno(errno, "write the archive");
        bytes.remove_prefix(part);
    }
    return {};
}

Result<> Archive::add(const std::string& name, std::string_view content) {
    TRY(write(TRY(tar_header(name, content.size(), now_))));
    TRY(write(content));
    const auto rest = content.size() % kBlock;
    return rest == 0 ? Result<>() : write(std::string(kBlock - rest, '\0'));
}

Result<> Archive::finish() {
    TRY(write(std::string(2 * kBlock, '\0')));
    if (::gzclose(static_cast<gzFile>(file_.release())) != Z_OK)
        return fail_errno(errno, "finish the archive");
    return {};
}

} // namespace beeline::cli
