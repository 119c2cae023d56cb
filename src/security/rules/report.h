// Problems of one file while it is loaded.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "security/rules/rule_set.h"
#include "security/rules/source_text.h"

namespace beeline::security::rules {

// What was looked at. Without a type it only says more exactly where in the one before.
struct Spot {
    std::string type; // see Location
    std::string name;
    const SourceFile* file = nullptr;
    Position position;
};
using Trail = std::vector<Spot>; // outermost first

Trail operator+(Trail trail, Spot spot);

class Report {
public:
    explicit Report(FileResult& result) : result_(result) {}

    // Precondition: `trail` is not empty; its last spot is where the caret goes.
    void error(std::string_view code, const Trail& trail, std::string message);
    void warning(std::string_view code, const Trail& trail, std::string message);
    [[nodiscard]] bool failed() const { return !result_.successful; }

private:
    FileResult& result_;
};

// A word of the user inside a message: one line, not too long.
std::string shown(std::string_view text);
// What a code stands for, in a few words.
std::string_view code_description(std::string_view code);

} // namespace beeline::security::rules
