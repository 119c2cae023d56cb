// user.*, group.*
#include "security/engine/fields.h"

namespace beeline::security::engine {
namespace {

constexpr std::string_view kUnknown = "<NA>";

std::uint32_t effective_uid(const Scene& scene) {
    return scene.event->flow != nullptr && scene.process != nullptr ? scene.process->uid
                                                                    : scene.event->head.uid;
}
std::uint32_t effective_gid(const Scene& scene) {
    return scene.event->flow != nullptr && scene.process != nullptr ? scene.process->gid
                                                                    : scene.event->head.gid;
}

std::string_view name_of(const Scene& scene, std::uint32_t id, bool group) {
    const Container* container =
        scene.process != nullptr ? scene.process->container.get() : nullptr;
    const auto& own = group ? scene.host->groups : scene.host->users;
    if (container != nullptr) {
        const auto& theirs = group ? container->groups : container->users;
        const auto found = theirs.find(id);
        if (found != theirs.end()) return found->second;
    } else {
        const auto found = own.find(id);
        if (found != own.end()) return found->second;
    }
    return id == 0 ? std::string_view("root") : kUnknown;
}

bool number(Value& out, std::uint64_t value) {
    out.number = value;
    return true;
}

bool uid(Scene& s, const Field&, Cursor&, Value& v) { return number(v, effective_uid(s)); }
bool gid(Scene& s, const Field&, Cursor&, Value& v) { return number(v, effective_gid(s)); }
bool name(Scene& s, const Field&, Cursor&, Value& v) {
    v.text = user_name(s, effective_uid(s));
    return true;
}
bool group(Scene& s, const Field&, Cursor&, Value& v) {
    v.text = group_name(s, effective_gid(s));
    return true;
}
bool login_uid(Scene& s, const Field&, Cursor&, Value& v) {
    if (s.process == nullptr) return false;
    return number(v, static_cast<std::uint64_t>(
                         std::int64_t{static_cast<std::int32_t>(s.process->loginuid)}));
}
bool login_name(Scene& s, const Field&, Cursor&, Value& v) {
    if (s.process == nullptr) return false;
    v.text = s.process->loginuid == 0xffffffff ? kUnknown : user_name(s, s.process->loginuid);
    return true;
}
bool unknown(Scene&, const Field&, Cursor&, Value& v) {
    v.text = kUnknown;
    return true;
}

constexpr FieldRow kFields[] = {
    {"user.uid", Type::uint64, Many::one, Takes::nothing, 0, uid, nullptr,
     "effective user id, of the host"},
    {"user.name", Type::text, Many::one, Takes::nothing, 0, name, nullptr,
     "its name in the container or on the host; <NA> if it has none"},
    {"user.homedir", Type::path, Many::one, Takes::nothing, 0, unknown, nullptr, "always <NA>"},
    {"user.shell", Type::path, Many::one, Takes::nothing, 0, unknown, nullptr, "always <NA>"},
    {"user.loginuid", Type::int64, Many::one, Takes::nothing, 0, login_uid, nullptr,
     "user id of the login (audit), -1 without one"},
    {"user.loginname", Type::text, Many::one, Takes::nothing, 0, login_name, nullptr,
     "its name, or <NA>"},
    {"group.gid", Type::uint64, Many::one, Takes::nothing, 0, gid, nullptr, "effective group id"},
    {"group.name", Type::text, Many::one, Takes::nothing, 0, group, nullptr, "its name, or <NA>"},
};

} // namespace

std::string_view user_name(const Scene& scene, std::uint32_t uid) {
    return name_of(scene, uid, false);
}
std::string_view group_name(const Scene& scene, std::uint32_t gid) {
    return name_of(scene, gid, true);
}

std::span<const FieldRow> user_fields() { return kFields; }

} // namespace beeline::security::engine
