// libs: beeline_api_hubble
// Requests of Hubble's clients: filters, masks and times. Whatever the bytes are, the request is refused with a text or
// runs over flows; a mask never adds to a flow. The first byte chooses: a label selector, a request in text, or in bytes.
#include <cstdint>
#include <cstdlib>
#include <string>

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>
#include <observer/observer.pb.h>

#include "api/hubble/flow_feed.h"
#include "api/hubble/selector.h"
#include "api/hubble/test_flows.h"

using namespace beeline;
using namespace beeline::hubble;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

struct Quiet final : google::protobuf::io::ErrorCollector {
    void AddError(int /*line*/, int /*column*/, const std::string& /*message*/) override {}
};

void run(const ::observer::GetFlowsRequest& request) {
    static const std::vector<::flow::Flow> flows = [] {
        std::vector<::flow::Flow> out;
        for (const auto& flow :
             {hubble::testing::opened(), hubble::testing::dropped(), hubble::testing::http(true),
              hubble::testing::dns(true), hubble::testing::dns(true, 3)})
            out.push_back(convert(flow, hubble::testing::origin()));
        return out;
    }();
    const auto compiled = FlowRequest::compile(request);
    if (!compiled) {
        require(!compiled.error().message.empty());
        return;
    }
    for (const auto& flow : flows) {
        (void)compiled->filters.keeps(flow);
        ::flow::Flow masked = flow;
        compiled->mask.apply(masked);
        require(masked.ByteSizeLong() <= flow.ByteSizeLong());
        ::flow::Flow again = masked;
        compiled->mask.apply(again);
        require(again.SerializeAsString() == masked.SerializeAsString());
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
    ::observer::GetFlowsRequest request;
    switch (data[0]) {
    case 's': {
        const auto selector = Selector::parse(text);
        LabelTexts labels;
        *labels.Add() = "k8s:app=web";
        *labels.Add() = "reserved:host";
        if (selector) (void)selector->matches(labels);
        break;
    }
    case 't': {
        google::protobuf::TextFormat::Parser parser;
        Quiet quiet;
        parser.RecordErrorsTo(&quiet);
        if (parser.ParseFromString(text, &request)) run(request);
        break;
    }
    default:
        if (request.ParseFromString(text)) run(request);
    }
    return 0;
}
