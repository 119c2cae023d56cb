// JSON of a server -> the same Nodes as YAML, quickly. Unlike the files of people it may have fields that this version does
// not know, and what is large and never looked at (managedFields, volumes, images, ...) is left out.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "source/yaml.h"

namespace beeline::source {

// One thread. Keeps its memory from one text to the next.
class JsonReader {
public:
    struct Limits {
        std::size_t bytes = 16U << 20;
        std::size_t depth = 64;
        std::size_t values = 1'000'000;
    };

    JsonReader();
    explicit JsonReader(Limits limits);
    ~JsonReader();
    JsonReader(JsonReader&&) noexcept;
    JsonReader& operator=(JsonReader&&) noexcept;

    // `title` stands before the message of every error that the Nodes give.
    Result<yaml::Document> read(std::string_view text, std::string title);

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace beeline::source
