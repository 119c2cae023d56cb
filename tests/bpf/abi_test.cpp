// Do the kernel side and user space mean the same bytes? Compares the BTF of each built object with
// this compiler's view of every struct in bpf/abi (abi_layout.h, written by tools/gen-abi-layout).
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <bpf/btf.h>
#include <gtest/gtest.h>

#include "abi_layout.h"

namespace beeline::abi {
namespace {

using BtfPtr = std::unique_ptr<btf, decltype(&btf__free)>;

BtfPtr open_object(const std::string& name) {
    const std::string path = std::string(BEELINE_BPF_DIR) + "/" + name + ".bpf.o";
    return {btf__parse_elf(path.c_str(), nullptr), &btf__free};
}

std::vector<std::string> object_names() {
    std::istringstream names(BEELINE_BPF_OBJECTS);
    std::vector<std::string> result;
    for (std::string name; names >> name;)
        result.push_back(name);
    return result;
}

struct Comparison {
    bool known = false; // the object uses the struct
    std::vector<std::string> differences;
};

Comparison compare(const btf& object, const Layout& layout) {
    Comparison result;
    const auto differs = [&](const std::string& text) {
        result.differences.push_back(std::string(layout.name) + ": " + text);
    };
    const int id = btf__find_by_name_kind(&object, layout.name,
                                          layout.is_union ? BTF_KIND_UNION : BTF_KIND_STRUCT);
    if (id < 0) return result;
    result.known = true;

    const btf_type* type = btf__type_by_id(&object, static_cast<unsigned>(id));
    if (type->size != layout.size) {
        differs("size " + std::to_string(type->size) + " in BTF, " + std::to_string(layout.size) +
                " in C++");
    }
    std::map<std::string, const btf_member*> members;
    for (unsigned i = 0; i < btf_vlen(type); i++) {
        const btf_member* member = btf_members(type) + i;
        members.emplace(btf__name_by_offset(&object, member->name_off), member);
    }
    for (std::size_t i = 0; i < layout.count; i++) {
        const Member& expected = layout.members[i];
        const auto found = members.find(expected.name);
        if (found == members.end()) {
            differs(std::string(expected.name) + " is not in BTF");
            continue;
        }
        const auto bit_offset = static_cast<std::size_t>(found->second->offset);
        const auto size = static_cast<std::size_t>(btf__resolve_size(&object, found->second->type));
        if (bit_offset != expected.offset * 8) {
            differs(std::string(expected.name) + " at bit " + std::to_string(bit_offset) +
                    " in BTF, at byte " + std::to_string(expected.offset) + " in C++");
        }
        if (size != expected.size) {
            differs(std::string(expected.name) + " has " + std::to_string(size) +
                    " bytes in BTF, " + std::to_string(expected.size) + " in C++");
        }
        members.erase(found);
    }
    for (const auto& [name, member] : members)
        differs(name + " is only in BTF");
    return result;
}

class Object : public testing::TestWithParam<std::string> {};

TEST_P(Object, AgreesWithCpp) {
    const BtfPtr object = open_object(GetParam());
    ASSERT_NE(object, nullptr);
    int known = 0;
    for (const Layout& layout : kLayouts) {
        const Comparison result = compare(*object, layout);
        known += result.known ? 1 : 0;
        for (const std::string& text : result.differences)
            ADD_FAILURE() << text;
    }
    EXPECT_GT(known, 0) << "the object uses no shared struct: was its BTF stripped?";
}

INSTANTIATE_TEST_SUITE_P(Built, Object, testing::ValuesIn(object_names()),
                         [](const auto& info) { return info.param; });

TEST(Coverage, EveryStructIsCompared) {
    std::set<std::string> unused;
    for (const Layout& layout : kLayouts)
        unused.insert(layout.name);
    for (const std::string& name : object_names()) {
        const BtfPtr object = open_object(name);
        ASSERT_NE(object, nullptr) << name;
        for (const Layout& layout : kLayouts) {
            if (compare(*object, layout).known) unused.erase(layout.name);
        }
    }
    for (const std::string& name : unused) {
        ADD_FAILURE() << name << " is in the BTF of no object: nothing checks its layout";
    }
}

TEST(Coverage, TableHasEveryStructOfTheHeaders) {
    std::set<std::string> in_table;
    for (const Layout& layout : kLayouts)
        in_table.insert(layout.name);
    std::set<std::string> in_headers;
    const std::regex definition(R"((?:^|\n)(?:struct|union) (\w+) \{)");
    for (const auto& entry : std::filesystem::directory_iterator(BEELINE_ABI_DIR)) {
        std::ifstream file(entry.path());
        const std::string text{std::istreambuf_iterator<char>(file), {}};
        for (std::sregex_iterator it(text.begin(), text.end(), definition), end; it != end; ++it) {
            in_headers.insert((*it)[1]);
        }
    }
    EXPECT_EQ(in_table, in_headers);
    EXPECT_GE(in_table.size(), 20U);
}

// The comparison itself: a table that lies must be caught.
class Comparing : public testing::Test {
protected:
    void SetUp() override {
        object_.reset(btf__new_empty());
        const int u32 = btf__add_int(object_.get(), "u32", 4, 0);
        btf__add_struct(object_.get(), "sample", 8);
        btf__add_field(object_.get(), "a", u32, 0, 0);
        btf__add_field(object_.get(), "b", u32, 32, 0);
    }

    std::size_t differences(std::size_t size, std::vector<Member> members) {
        const Layout layout{"sample", false, size, members.data(), members.size()};
        const Comparison result = compare(*object_, layout);
        EXPECT_TRUE(result.known);
        return result.differences.size();
    }

    BtfPtr object_{nullptr, &btf__free};
};

TEST_F(Comparing, AcceptsTheSameLayout) {
    EXPECT_EQ(differences(8, {{"a", 0, 4}, {"b", 4, 4}}), 0U);
}

TEST_F(Comparing, ReportsEachDifference) {
    EXPECT_EQ(differences(12, {{"a", 0, 4}, {"b", 4, 4}}), 1U); // size
    EXPECT_EQ(differences(8, {{"a", 0, 4}, {"b", 6, 4}}), 1U);  // offset
    EXPECT_EQ(differences(8, {{"a", 0, 4}, {"b", 4, 2}}), 1U);  // member size
    EXPECT_EQ(differences(8, {{"a", 0, 4}}), 1U);               // only in BTF
    EXPECT_EQ(differences(8, {{"a", 0, 4}, {"c", 4, 4}}), 2U);  // renamed
}

} // namespace
} // namespace beeline::abi
