#include "datapath/ipam.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <deque>
#include <limits>
#include <sstream>

#include "base/log.h"

namespace beeline::datapath {
namespace {

// The log is text: this line, then one record a line, each with a checksum of what stands before it:
//   + CONTAINER INTERFACE ADDRESS[,ADDRESS] SUM     leased
//   - CONTAINER INTERFACE TIME_MS SUM               released
//   ~ ADDRESS TIME_MS SUM                           was released, still rests (only written by rewrite)
constexpr std::string_view kHead = "beeline-ipam 1";
// Offsets from the range's base: network (IPv6: anycast) address, gateway, first to lease.
constexpr std::uint64_t kGateway = 1;
constexpr std::uint64_t kFirst = 2;
// A log may have so many records that say nothing any more before it is rewritten.
constexpr std::uint64_t kStale = 10'000;

std::uint32_t checksum(std::string_view text) {
    std::uint32_t sum = 0x811c9dc5;
    for (const char c : text)
        sum = (sum ^ static_cast<std::uint8_t>(c)) * 0x01000193;
    return sum;
}

std::string with_sum(std::string record) {
    const auto sum = checksum(record);
    return fmt::format("{} {:08x}\n", record, sum);
}

std::string join(const std::vector<net::Ip>& addresses) {
    std::string text;
    for (const auto& ip : addresses)
        text += (text.empty() ? "" : ",") + ip.to_string();
    return text;
}

std::optional<std::int64_t> parse_time(const std::string& text) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return {};
    return value;
}

std::optional<std::vector<net::Ip>> parse_addresses(const std::string& text) {
    std::vector<net::Ip> addresses;
    std::istringstream words(text);
    for (std::string word; std::getline(words, word, ',');) {
        const auto ip = net::Ip::parse(word);
        if (!ip) return {};
        addresses.push_back(*ip);
    }
    if (addresses.empty()) return {};
    return addresses;
}

Result<> check_range(const std::optional<net::Prefix>& range, bool v4) {
    if (!range) return {};
    const unsigned least = v4 ? 8 : 32;
    const unsigned most = v4 ? 30 : 126;
    if (range->is_v4() != v4 || range->length < least || range->length > most) {
        return fail(
            Code::invalid,
            "'{}' cannot be the {} range of workloads: expected a prefix of length {} to {}",
            range->to_string(), v4 ? "IPv4" : "IPv6", least, most);
    }
    return {};
}

} // namespace

// One range: which of its addresses come next, how many are leased, which rest.
class Ipam::Pool {
public:
    explicit Pool(const net::Prefix& range) : range_(range) {
        const unsigned bits = (range.is_v4() ? 32U : 128U) - range.length;
        // Of a range larger than a /64 only the first 2^64 addresses are used.
        last_ =
            bits >= 64 ? std::numeric_limits<std::uint64_t>::max() : (std::uint64_t{1} << bits) - 1;
        if (range.is_v4()) --last_; // broadcast
    }

    [[nodiscard]] net::Ip at(std::uint64_t offset) const {
        net::Ip ip = range_.base;
        for (unsigned i = 0; i < 8; ++i)
            ip.bytes[15 - i] |= static_cast<std::uint8_t>(offset >> (8 * i));
        return ip;
    }
    [[nodiscard]] std::optional<std::uint64_t> offset(const net::Ip& ip) const {
        if (!range_.contains(ip)) return {};
        const unsigned bits = (range_.is_v4() ? 32U : 128U) - range_.length;
        std::uint64_t offset = 0;
        for (unsigned i = 8; i < 16; ++i)
            offset = offset << 8 | ip.bytes[i];
        if (bits < 64) return offset & ((std::uint64_t{1} << bits) - 1);
        return at(offset) == ip ? std::optional(offset) : std::nullopt;
    }
    [[nodiscard]] bool can_lease(const net::Ip& ip) const {
        const auto where = offset(ip);
        return where && *where >= kFirst && *where <= last_;
    }

    // The next address after the one leased last that is free: so an address comes again as late as possible.
    std::optional<net::Ip> pick(const std::unordered_map<net::Ip, Owner>& owners,
                                std::int64_t now_ms) {
        wake(now_ms);
        if (usage().exhausted()) return {};
        for (;;) {
            const net::Ip ip = at(next_);
            next_ = next_ == last_ ? kFirst : next_ + 1;
            if (!owners.contains(ip) && !resting_.contains(ip)) return ip;
        }
    }

    void leased(const net::Ip& ip) {
        ++used_;
        resting_.erase(ip);
        const auto where = offset(ip);
        next_ = !where || *where >= last_ ? kFirst : std::max(*where + 1, kFirst);
    }
    void released(const net::Ip& ip, std::int64_t until_ms) {
        --used_;
        rest(ip, until_ms);
    }
    void rest(const net::Ip& ip, std::int64_t until_ms) {
        resting_[ip] = until_ms;
        wakes_.emplace_back(until_ms, ip);
    }
    void wake(std::int64_t now_ms) {
        while (!wakes_.empty() && wakes_.front().first <= now_ms) {
            const auto [until, ip] = wakes_.front();
            wakes_.pop_front();
            // Unless it was leased again, or released once more, meanwhile.
            const auto found = resting_.find(ip);
            if (found != resting_.end() && found->second == until) resting_.erase(found);
        }
    }

    [[nodiscard]] Usage usage() const {
        return {range_, used_, resting_.size(), last_ - kFirst + 1};
    }
    [[nodiscard]] const std::unordered_map<net::Ip, std::int64_t>& resting() const {
        return resting_;
    }

private:
    net::Prefix range_;
    std::uint64_t last_ = 0; // largest offset that can be leased
    std::uint64_t next_ = kFirst;
    std::uint64_t used_ = 0;
    std::unordered_map<net::Ip, std::int64_t> resting_;  // until when
    std::deque<std::pair<std::int64_t, net::Ip>> wakes_; // in the order of release
};

Ipam::Ipam(Options options) : options_(std::move(options)) {
    if (options_.ipv4) v4_ = std::make_unique<Pool>(*options_.ipv4);
    if (options_.ipv6) v6_ = std::make_unique<Pool>(*options_.ipv6);
}

Ipam::~Ipam() = default;

Result<std::unique_ptr<Ipam>> Ipam::open(Options options) {
    TRY(check_range(options.ipv4, true));
    TRY(check_range(options.ipv6, false));
    if (!options.ipv4 && !options.ipv6)
        return fail(Code::invalid, "workloads need an IPv4 or an IPv6 range");
    std::unique_ptr<Ipam> ipam(new Ipam(std::move(options)));
    TRY(ipam->load());
    for (const bool v4 : {true, false}) {
        const auto gateway = ipam->gateway(v4);
        if (!gateway) continue;
        if (const auto owner = ipam->owners_.find(*gateway); owner != ipam->owners_.end()) {
            return fail(Code::invalid,
                        "{} would be the gateway of the new range, but container {} has it: choose "
                        "another range or remove the container first",
                        gateway->to_string(), owner->second.container);
        }
    }
    return ipam;
}

std::string Ipam::path() const { return options_.folder + "/ipam.log"; }

std::int64_t Ipam::now() const {
    if (options_.now_ms) return options_.now_ms();
    using std::chrono::system_clock;
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               system_clock::now().time_since_epoch())
        .count();
}

Ipam::Pool* Ipam::pool_of(const net::Ip& ip) const {
    Pool* pool = ip.is_v4() ? v4_.get() : v6_.get();
    return pool != nullptr && pool->offset(ip) ? pool : nullptr;
}

Result<> Ipam::load() {
    const auto content = read_file(path());
    if (!content && content.error().code == Code::not_found) return rewrite();
    if (!content) return Failure(content.error());

    std::size_t bad = 0; // number of the first line that cannot be read
    std::size_t line_number = 0;
    bool torn = false;
    for (std::size_t at = 0; at < content->size();) {
        const auto end = content->find('\n', at);
        const bool last = end == std::string::npos || end + 1 == content->size();
        const auto line =
            content->substr(at, end == std::string::npos ? std::string::npos : end - at);
        at = last ? content->size() : end + 1;
        ++line_number;
        const bool good =
            end != std::string::npos && (line_number == 1 ? line == kHead : apply(line));
        if (good) continue;
        // The last record may be half written: then it was never handed out.
        if (last)
            torn = true;
        else if (bad == 0)
            bad = line_number;
    }
    records_ = line_number > 0 ? line_number - 1 : 0;
    if (bad != 0 || (torn && line_number == 1)) {
        const std::string aside = path() + ".damaged";
        if (::rename(path().c_str(), aside.c_str()) < 0)
            return fail_errno(errno, fmt::format("set '{}' aside", path()));
        damage_ = fmt::format(
            "'{}' is damaged (line {}): it was set aside as '{}', {} leases could be read", path(),
            bad == 0 ? 1 : bad, aside, leases_.size());
        log_error("address log is damaged", kv("file", path()), kv("line", bad == 0 ? 1 : bad),
                  kv("aside", aside), kv("leases", leases_.size()));
    }
    if (torn || bad != 0 || line_number == 0) return rewrite();

    log_.reset(::open(path().c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    if (!log_) return fail_errno(errno, fmt::format("open '{}'", path()));
    size_ = content->size();
    return {};
}

bool Ipam::apply(const std::string& line) {
    const auto space = line.rfind(' ');
    if (space == std::string::npos ||
        fmt::format("{:08x}", checksum(line.substr(0, space))) != line.substr(space + 1)) {
        return false;
    }
    std::istringstream words(line.substr(0, space));
    std::string kind;
    words >> kind;
    if (kind == "~") {
        std::string address;
        std::string time;
        words >> address >> time;
        const auto ip = net::Ip::parse(address);
        const auto at = parse_time(time);
        if (!ip || !at) return false;
        if (Pool* pool = pool_of(*ip))
            pool->rest(*ip, *at + static_cast<std::int64_t>(options_.rest_ms));
        return true;
    }
    Owner owner;
    std::string rest;
    words >> owner.container >> owner.interface >> rest;
    if (kind == "-") {
        const auto at = parse_time(rest);
        if (!at) return false;
        forget(owner, *at);
        return true;
    }
    const auto addresses = parse_addresses(rest);
    if (kind != "+" || !addresses) return false;
    // A release that could not be written leaves an older owner behind: the later record holds.
    forget(owner, 0);
    for (const auto& ip : *addresses) {
        if (const auto old = owners_.find(ip); old != owners_.end()) forget(Owner(old->second), 0);
    }
    take(owner, *addresses);
    return true;
}

void Ipam::take(const Owner& owner, const std::vector<net::Ip>& addresses) {
    leases_[owner] = addresses;
    for (const auto& ip : addresses) {
        owners_[ip] = owner;
        if (Pool* pool = pool_of(ip)) pool->leased(ip);
    }
}

void Ipam::forget(const Owner& owner, std::int64_t at_ms) {
    const auto found = leases_.find(owner);
    if (found == leases_.end()) return;
    for (const auto& ip : found->second) {
        owners_.erase(ip);
        // A clock that was set back must not make an address rest for longer.
        const auto from = std::min(at_ms, now());
        if (Pool* pool = pool_of(ip))
            pool->released(ip, from + static_cast<std::int64_t>(options_.rest_ms));
    }
    leases_.erase(found);
}

Result<> Ipam::append(const std::string& record, Durable durable) {
    if (!log_) TRY(rewrite());
    const std::string line = with_sum(record);
    const auto written = ::write(log_.get(), line.data(), line.size());
    int number = 0;
    if (written != static_cast<ssize_t>(line.size())) {
        number = written < 0 ? errno : ENOSPC;
    } else if (durable == Durable::yes && ::fdatasync(log_.get()) < 0) {
        number = errno;
    }
    if (number == 0) {
        size_ += line.size();
        ++records_;
        return {};
    }
    // Half a record in the middle of the log would look like damage.
    if (::ftruncate(log_.get(), static_cast<off_t>(size_)) < 0) log_.reset();
    return fail_errno(number, fmt::format("write '{}'", path()));
}

Result<> Ipam::rewrite() {
    std::string content(kHead);
    content += '\n';
    std::uint64_t records = 0;
    for (const auto& [owner, addresses] : leases_) {
        content +=
            with_sum(fmt::format("+ {} {} {}", owner.container, owner.interface, join(addresses)));
        ++records;
    }
    for (const Pool* pool : {v4_.get(), v6_.get()}) {
        if (pool == nullptr) continue;
        for (const auto& [ip, until] : pool->resting()) {
            content += with_sum(fmt::format("~ {} {}", ip.to_string(),
                                            until - static_cast<std::int64_t>(options_.rest_ms)));
            ++records;
        }
    }
    TRY(replace_file(path(), content));
    log_.reset(::open(path().c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    if (!log_) return fail_errno(errno, fmt::format("open '{}'", path()));
    size_ = content.size();
    records_ = records;
    return {};
}

void Ipam::rewrite_if_grown() {
    std::uint64_t wanted = leases_.size();
    for (const Pool* pool : {v4_.get(), v6_.get()}) {
        if (pool != nullptr) wanted += pool->resting().size();
    }
    if (records_ < 2 * wanted + kStale) return;
    if (const auto outcome = rewrite(); !outcome) {
        log_warn("address log not rewritten", kv("error", outcome.error().message));
    }
}

Result<std::vector<net::Ip>> Ipam::lease(const Owner& owner, const std::vector<net::Ip>& wanted) {
    if (leases_.contains(owner)) {
        return fail(Code::exists, "container {} has addresses for {} already", owner.container,
                    owner.interface);
    }
    std::vector<net::Ip> addresses;
    for (Pool* pool : {v4_.get(), v6_.get()}) {
        const bool v4 = pool == v4_.get();
        const net::Ip* fixed = nullptr;
        for (const auto& ip : wanted) {
            if (ip.is_v4() != v4) continue;
            if (fixed != nullptr) {
                return fail(Code::invalid, "more than one {} address was asked for",
                            v4 ? "IPv4" : "IPv6");
            }
            fixed = &ip;
        }
        if (fixed != nullptr) {
            if (pool == nullptr || !pool->can_lease(*fixed)) {
                return fail(Code::invalid,
                            "the address {} is not among those of this node's workloads{}",
                            fixed->to_string(),
                            pool == nullptr ? ""
                                            : " (" + pool->usage().range.to_string() +
                                                  ", without its first and last)");
            }
            if (const auto taken = owners_.find(*fixed); taken != owners_.end()) {
                return fail(Code::exists, "the address {} is in use by container {}",
                            fixed->to_string(), taken->second.container);
            }
            addresses.push_back(*fixed);
        } else if (pool != nullptr) {
            const auto ip = pool->pick(owners_, now());
            if (!ip) {
                const auto usage = pool->usage();
                return fail(Code::exhausted, "no address is free in {}: {} are in use and {} rest",
                            usage.range.to_string(), usage.used, usage.resting);
            }
            addresses.push_back(*ip);
        }
    }
    TRY(append(fmt::format("+ {} {} {}", owner.container, owner.interface, join(addresses)),
               Durable::yes));
    take(owner, addresses);
    return addresses;
}

Result<> Ipam::adopt(const Owner& owner, const std::vector<net::Ip>& addresses) {
    const auto* held = find(owner);
    if (addresses.empty() || (held != nullptr && *held == addresses)) return {};
    for (const auto& ip : addresses) {
        const auto taken = owners_.find(ip);
        if (taken != owners_.end() && taken->second != owner) {
            return fail(Code::exists, "the address {} is in use by container {}", ip.to_string(),
                        taken->second.container);
        }
    }
    release(owner);
    TRY(append(fmt::format("+ {} {} {}", owner.container, owner.interface, join(addresses)),
               Durable::yes));
    take(owner, addresses);
    return {};
}

void Ipam::release(const Owner& owner) {
    if (!leases_.contains(owner)) return;
    const auto at = now();
    // Not synced: a release that a crash undoes is found when the node's workloads are compared at the next start.
    const auto outcome =
        append(fmt::format("- {} {} {}", owner.container, owner.interface, at), Durable::no);
    if (!outcome)
        log_warn("release of an address not written", kv("error", outcome.error().message));
    forget(owner, at);
    rewrite_if_grown();
}

std::vector<Ipam::Lease> Ipam::leases() const {
    std::vector<Lease> all;
    all.reserve(leases_.size());
    for (const auto& [owner, addresses] : leases_)
        all.push_back({owner, addresses});
    return all;
}

const std::vector<net::Ip>* Ipam::find(const Owner& owner) const {
    const auto found = leases_.find(owner);
    return found == leases_.end() ? nullptr : &found->second;
}

std::optional<Ipam::Usage> Ipam::ipv4() const {
    if (!v4_) return {};
    v4_->wake(now());
    return v4_->usage();
}

std::optional<Ipam::Usage> Ipam::ipv6() const {
    if (!v6_) return {};
    v6_->wake(now());
    return v6_->usage();
}

std::optional<net::Ip> Ipam::gateway(bool v4) const {
    const Pool* pool = v4 ? v4_.get() : v6_.get();
    if (pool == nullptr) return {};
    return pool->at(kGateway);
}

} // namespace beeline::datapath
