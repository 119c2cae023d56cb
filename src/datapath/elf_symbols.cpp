#include "datapath/elf_symbols.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/fd.h"

namespace beeline::datapath {
namespace {

constexpr std::uint64_t kMostSymbols = 4'000'000;

class Elf {
public:
    explicit Elf(std::span<const std::byte> file) : file_(file) {}

    Symbols find(std::span<const std::string_view> names) const {
        Symbols out;
        const auto header = at<Elf64_Ehdr>(0);
        if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
            header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
            header->e_machine != EM_X86_64 || header->e_shentsize != sizeof(Elf64_Shdr) ||
            header->e_phentsize != sizeof(Elf64_Phdr))
            return out;
        for (unsigned i = 0; i < header->e_shnum; ++i) {
            const auto section = entry<Elf64_Shdr>(header->e_shoff, i);
            if (!section) break;
            if (section->sh_type != SHT_DYNSYM && section->sh_type != SHT_SYMTAB) continue;
            const auto strings = section->sh_link < header->e_shnum
                                     ? entry<Elf64_Shdr>(header->e_shoff, section->sh_link)
                                     : std::nullopt;
            if (strings) read_table(*header, *section, *strings, names, out);
        }
        return out;
    }

private:
    template <typename T>
    std::optional<T> at(std::uint64_t offset) const {
        if (offset > file_.size() || file_.size() - offset < sizeof(T)) return std::nullopt;
        T value;
        std::memcpy(&value, file_.data() + offset, sizeof value);
        return value;
    }
    template <typename T>
    std::optional<T> entry(std::uint64_t base, std::uint64_t index) const {
        if (base > file_.size()) return std::nullopt;
        return at<T>(base + index * sizeof(T));
    }

    void read_table(const Elf64_Ehdr& header, const Elf64_Shdr& table, const Elf64_Shdr& strings,
                    std::span<const std::string_view> names, Symbols& out) const {
        if (strings.sh_offset > file_.size() || strings.sh_size > file_.size() - strings.sh_offset)
            return;
        const std::string_view text(reinterpret_cast<const char*>(file_.data()) + strings.sh_offset,
                                    strings.sh_size);
        const std::uint64_t count = std::min(table.sh_size / sizeof(Elf64_Sym), kMostSymbols);
        for (std::uint64_t i = 0; i < count; ++i) {
            const auto symbol = entry<Elf64_Sym>(table.sh_offset, i);
            if (!symbol) return;
            if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || symbol->st_shndx == SHN_UNDEF ||
                symbol->st_name >= text.size())
                continue;
            for (const std::string_view name : names) {
                const std::string_view rest = text.substr(symbol->st_name);
                if (!rest.starts_with(name) || rest.size() <= name.size() ||
                    rest[name.size()] != '\0')
                    continue;
                if (const auto offset = offset_of(header, symbol->st_value))
                    out.emplace(name, CodeRange{*offset, symbol->st_size});
            }
        }
    }

    // Where in the file the code at this address is.
    std::optional<std::uint64_t> offset_of(const Elf64_Ehdr& header, std::uint64_t address) const {
        for (unsigned i = 0; i < header.e_phnum; ++i) {
            const auto segment = entry<Elf64_Phdr>(header.e_phoff, i);
            if (!segment) break;
            if (segment->p_type == PT_LOAD && (segment->p_flags & PF_X) != 0 &&
                address >= segment->p_vaddr && address - segment->p_vaddr < segment->p_filesz)
                return address - segment->p_vaddr + segment->p_offset;
        }
        return std::nullopt;
    }

    std::span<const std::byte> file_;
};

} // namespace

Symbols find_functions(std::span<const std::byte> file, std::span<const std::string_view> names) {
    return Elf(file).find(names);
}

// 48 83 c4 xx      add rsp, 8 bits     then 5d c3 (pop rbp; ret), since Go 1.20 or so
// 48 81 c4 xxxxxxxx add rsp, 32 bits
// before that:      48 8b 6c 24 xx or 48 8b ac 24 xxxxxxxx (mov rbp, [rsp + x]), then the add, then c3
std::vector<std::uint64_t> find_go_returns(std::span<const std::byte> file,
                                           const CodeRange& function) {
    std::vector<std::uint64_t> out;
    if (function.offset > file.size() || function.size > file.size() - function.offset) return out;
    const auto code = file.subspan(function.offset, function.size);
    const auto at = [&](std::size_t i, std::initializer_list<unsigned> bytes) {
        if (i > code.size() || code.size() - i < bytes.size()) return false;
        return std::equal(bytes.begin(), bytes.end(), code.begin() + static_cast<std::ptrdiff_t>(i),
                          [](unsigned a, std::byte b) { return std::byte(a) == b; });
    };
    for (std::size_t i = 0; i < code.size(); ++i) {
        const std::size_t add = at(i, {0x48, 0x83, 0xc4}) ? 4 : at(i, {0x48, 0x81, 0xc4}) ? 7 : 0;
        if (add == 0) continue;
        const bool restored = (i >= 5 && at(i - 5, {0x48, 0x8b, 0x6c, 0x24})) ||
                              (i >= 8 && at(i - 8, {0x48, 0x8b, 0xac, 0x24}));
        if (at(i + add, {0x5d, 0xc3})) {
            out.push_back(function.offset + i + add + 1);
        } else if (restored && at(i + add, {0xc3})) {
            out.push_back(function.offset + i + add);
        }
    }
    return out;
}

Result<std::vector<std::byte>> read_code(const std::string& path) {
    const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd) return fail_errno(errno, "cannot open " + path);
    struct stat status{};
    if (fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_size <= 0)
        return fail(Code::invalid, "{} is no file", path);
    const auto size = static_cast<std::size_t>(status.st_size);
    // Read, not mapped: a file that is cut meanwhile must not end the agent.
    std::vector<std::byte> bytes;
    constexpr std::size_t kMost = 512UL << 20;
    if (size > kMost) return fail(Code::invalid, "{} is too large to look at", path);
    bytes.resize(size);
    std::size_t have = 0;
    while (have < size) {
        const ssize_t got = read(fd.get(), bytes.data() + have, size - have);
        if (got <= 0) return fail_errno(errno, "cannot read " + path);
        have += static_cast<std::size_t>(got);
    }
    return bytes;
}

Result<Symbols> find_functions_in(const std::string& path,
                                  std::span<const std::string_view> names) {
    return find_functions(TRY(read_code(path)), names);
}

} // namespace beeline::datapath
