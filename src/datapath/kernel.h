// The loaded datapath: programs, pinned maps, attachments. Control loop only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "datapath/tables.h"
#include "ebpf/map.h"
#include "ebpf/object.h"
#include "model/workload.h"

namespace beeline::datapath {

enum class Attachment { automatic, tcx, clsact };

struct KernelOptions {
    std::string pins;   // <bpffs>/beeline/NAME
    std::string cgroup; // absolute path whose sockets are translated; empty: no socket hooks
    net::Ip gateway4;   // source of hairpin connections
    net::Ip gateway6;
    std::uint32_t ct_entries = 524288;
    std::uint32_t ring_bytes = 8 << 20; // power of two
    std::uint32_t l7_ring_bytes = 4096; // of bl_l7; power of two
    Attachment attachment = Attachment::automatic;
    std::map<std::string, std::uint32_t> ct_timeouts_s; // by state name, over the defaults
};

struct MapUse {
    std::string name;
    ebpf::MapInfo info;
    std::uint64_t entries = 0;
};

// A device by which other nodes reach the workloads here.
struct Uplink {
    std::uint32_t ifindex = 0;
    bool tunnel = false;
};

struct SweepResult {
    std::uint32_t seen = 0;
    std::uint32_t removed = 0;
};

class Kernel {
public:
    // Loads and pins. Maps that are pinned already are taken over with their contents; those of another layout or size are
    // made anew, with the old connections as far as they fit.
    static Result<std::unique_ptr<Kernel>> load(const KernelOptions& options);
    ~Kernel();

    // What the maps hold, for the first comparison after a start.
    [[nodiscard]] Result<Tables> read() const;
    // Makes the maps equal `to`, given that they equal `from`: new entries first, then the switch,
    // then removal, then the epoch. When a step fails the steps done are taken back and the error
    // returned.
    Result<> write(const Tables& from, const Tables& to);
    // Every established connection is judged again on its next packet.
    Result<> bump_epoch();

    // The socket hooks of the cgroup, updated in place. Once the maps are filled: they may be new.
    Result<> attach_sockets();
    Result<> attach(const model::Workload& workload);
    void detach(const model::Workload& workload);
    // Exactly these: the programs of other devices go.
    Result<> attach_uplinks(const std::vector<Uplink>& uplinks);
    // Removes attachments of interfaces that no workload has any more.
    void detach_all_but(const std::vector<model::Workload>& workloads);

    Result<SweepResult> sweep(bool pressure);

    // What the maps say of a new connection: the kernel's decision, read without sending a packet.
    struct Verdict {
        bool allowed = true;
        std::uint32_t rule[2] = {0, 0}; // by BL_DIR_*
    };
    [[nodiscard]] Result<Verdict> verdict(const net::Ip& source, const net::Ip& destination,
                                          std::uint8_t protocol, std::uint16_t port) const;

    [[nodiscard]] int flow_ring() const;
    [[nodiscard]] Result<std::vector<std::uint64_t>> metrics() const; // by enum bl_metric
    [[nodiscard]] Result<std::vector<std::uint64_t>> drops() const;   // by index of bl_drop
    [[nodiscard]] Result<std::vector<MapUse>> maps() const;
    // What write() did to each map: entries written and removed, and how often that failed.
    struct Operations {
        std::uint64_t updated = 0;
        std::uint64_t update_failed = 0;
        std::uint64_t erased = 0;
        std::uint64_t erase_failed = 0;
    };
    [[nodiscard]] const std::map<std::string, Operations>& operations() const;
    // Descriptor of a map by name, for dumps and tests.
    [[nodiscard]] Result<int> map(const std::string& name) const;
    [[nodiscard]] Result<int> program(const std::string& name) const;
    // For objects beside these: where maps and links are pinned, and whether the kernel has tcx.
    [[nodiscard]] std::string map_pins() const;
    // Makes a map of such an object known by its name; the descriptor stays its owner's and must outlive this.
    void add_map(const std::string& name, int fd);
    [[nodiscard]] std::string links() const;
    [[nodiscard]] bool tcx() const;

    // Removes every pin of an instance; attachments end with their links.
    static void remove_pins(const std::string& pins);

private:
    struct State;
    explicit Kernel(std::unique_ptr<State> state);
    // How many entries changed.
    Result<std::size_t> write_steps(const Tables& from, const Tables& to);
    std::unique_ptr<State> state_;
};

} // namespace beeline::datapath
