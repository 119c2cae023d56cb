#include "ebpf/types.h"

#include <bpf/btf.h>

namespace beeline::ebpf {

Result<KernelTypes> KernelTypes::read() {
    std::unique_ptr<btf, void (*)(btf*)> types(btf__load_vmlinux_btf(), btf__free);
    if (!types) return fail_errno(errno, "cannot read the kernel's types");
    return KernelTypes(std::move(types));
}

std::optional<std::vector<std::pair<std::string, std::uint32_t>>>
KernelTypes::enumeration(const std::string& name) const {
    const int id = btf__find_by_name_kind(types_.get(), name.c_str(), BTF_KIND_ENUM);
    if (id <= 0) return std::nullopt;
    const btf_type* type = btf__type_by_id(types_.get(), static_cast<std::uint32_t>(id));
    std::vector<std::pair<std::string, std::uint32_t>> out;
    for (unsigned i = 0; i < btf_vlen(type); ++i) {
        const struct btf_enum& value = ::btf_enum(type)[i];
        out.emplace_back(btf__name_by_offset(types_.get(), value.name_off),
                         static_cast<std::uint32_t>(value.val));
    }
    return out;
}

std::optional<unsigned> KernelTypes::tracepoint_arguments(const std::string& name) const {
    // A typedef of a pointer to a function whose first parameter is the tracepoint's own.
    const int id =
        btf__find_by_name_kind(types_.get(), ("btf_trace_" + name).c_str(), BTF_KIND_TYPEDEF);
    if (id <= 0) return std::nullopt;
    const btf_type* type = btf__type_by_id(types_.get(), static_cast<std::uint32_t>(id));
    for (const std::uint16_t kind :
         std::initializer_list<std::uint16_t>{BTF_KIND_PTR, BTF_KIND_FUNC_PROTO}) {
        type = btf__type_by_id(types_.get(), type->type);
        if (type == nullptr || btf_kind(type) != kind) return std::nullopt;
    }
    const unsigned parameters = btf_vlen(type);
    return parameters == 0 ? 0 : parameters - 1;
}

} // namespace beeline::ebpf
