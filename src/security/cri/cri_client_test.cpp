#include "security/cri/cri_client.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include <cri/cri.grpc.pb.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "base/fd.h"

namespace beeline::security {
namespace {

namespace cri = runtime::v1;

const std::string kId = std::string(62, 'a') + "01";
const std::string kPod = std::string(62, 'b') + "02";
const std::string kImage = "sha256:" + std::string(64, 'c');
const std::string kDigest = "sha256:" + std::string(64, 'd');

const grpc::Status kNotFound(grpc::StatusCode::NOT_FOUND, "no such thing");

// A runtime with one pod of one container.
class Runtime final : public cri::RuntimeService::Service {
public:
    cri::ContainerStatus status;
    cri::PodSandboxStatus pod;
    grpc::Status error;
    std::atomic<int> calls{0};

    grpc::Status Version(grpc::ServerContext*, const cri::VersionRequest*,
                         cri::VersionResponse* answer) override {
        answer->set_runtime_name("cri-o");
        return {};
    }
    grpc::Status ListContainers(grpc::ServerContext*, const cri::ListContainersRequest* request,
                                cri::ListContainersResponse* answer) override {
        if (request->filter().id() != status.id()) return {};
        auto* one = answer->add_containers();
        one->set_id(status.id());
        one->set_pod_sandbox_id(pod.id());
        return {};
    }
    grpc::Status ContainerStatus(grpc::ServerContext*, const cri::ContainerStatusRequest* request,
                                 cri::ContainerStatusResponse* answer) override {
        ++calls;
        if (!error.ok()) return error;
        if (request->container_id() != status.id()) return kNotFound;
        *answer->mutable_status() = status;
        return {};
    }
    grpc::Status PodSandboxStatus(grpc::ServerContext*, const cri::PodSandboxStatusRequest* request,
                                  cri::PodSandboxStatusResponse* answer) override {
        if (request->pod_sandbox_id() != pod.id()) return kNotFound;
        *answer->mutable_status() = pod;
        return {};
    }
};

class Images final : public cri::ImageService::Service {
public:
    cri::Image image;
    grpc::Status ImageStatus(grpc::ServerContext*, const cri::ImageStatusRequest*,
                             cri::ImageStatusResponse* answer) override {
        *answer->mutable_image() = image;
        return {};
    }
};

class Cri : public ::testing::Test {
protected:
    void SetUp() override {
        folder_ = ::testing::TempDir() + "beeline_cri_" + std::to_string(::getpid());
        std::filesystem::remove_all(folder_);
        std::filesystem::create_directories(folder_);
        socket_ = folder_ + "/runtime.sock";
        runtime_.status.set_id(kId);
        runtime_.status.mutable_metadata()->set_name("app");
        runtime_.status.mutable_image()->set_image("reg.example:5000/team/app:1.2");
        runtime_.status.set_image_ref("reg.example:5000/team/app@" + kDigest);
        (*runtime_.status.mutable_labels())["io.kubernetes.container.name"] = "app";
        (*runtime_.status.mutable_labels())["tier"] = "web";
        auto* mount = runtime_.status.add_mounts();
        mount->set_host_path("/srv/data");
        mount->set_container_path("/data");
        mount->set_readonly(true);
        mount->set_propagation(cri::PROPAGATION_HOST_TO_CONTAINER);
        runtime_.pod.set_id(kPod);
        runtime_.pod.mutable_metadata()->set_name("app-0");
        runtime_.pod.mutable_metadata()->set_namespace_("prod");
        runtime_.pod.mutable_metadata()->set_uid("u-1");
        runtime_.pod.mutable_network()->set_ip("10.1.2.3");
        runtime_.pod.mutable_network()->add_additional_ips()->set_ip("fd00::3");
        (*runtime_.pod.mutable_labels())["app"] = "shop";
        images_.image.set_id(kImage);
        images_.image.add_repo_tags("reg.example:5000/team/app:1.2");
        images_.image.add_repo_digests("reg.example:5000/team/app@" + kDigest);
    }
    void TearDown() override {
        server_.reset();
        std::filesystem::remove_all(folder_);
    }
    void serve() {
        grpc::ServerBuilder builder;
        builder.AddListeningPort("unix:" + socket_, grpc::InsecureServerCredentials());
        builder.RegisterService(&runtime_);
        builder.RegisterService(&images_);
        server_ = builder.BuildAndStart();
        ASSERT_NE(server_, nullptr);
    }
    CriClient::Options options() const {
        return {.sockets = {folder_ + "/none.sock", socket_},
                .most_wait = std::chrono::seconds(5),
                .pause_after_failure = std::chrono::minutes(1)};
    }
    static ContainerId id(const std::string& text) { return {text, "containerd", false, {}}; }

    std::string folder_;
    std::string socket_;
    Runtime runtime_;
    Images images_;
    std::unique_ptr<grpc::Server> server_;
};

TEST_F(Cri, TellsAllOfAContainer) {
    serve();
    CriClient client(options());
    Container container;
    container.labels = {{"kept", "yes"}};
    ASSERT_TRUE(client.describe(id(kId), container));
    EXPECT_TRUE(container.complete);
    EXPECT_EQ(container.runtime, "cri-o");
    EXPECT_EQ(container.name, "app");
    EXPECT_EQ(container.image, "reg.example:5000/team/app:1.2");
    EXPECT_EQ(container.image_repository, "reg.example:5000/team/app");
    EXPECT_EQ(container.image_tag, "1.2");
    EXPECT_EQ(container.image_digest, kDigest);
    EXPECT_EQ(container.image_id, std::string(64, 'c'));
    EXPECT_EQ(container.labels,
              (std::map<std::string, std::string>{
                  {"kept", "yes"}, {"io.kubernetes.container.name", "app"}, {"tier", "web"}}));
    EXPECT_EQ(container.pod_labels, (std::map<std::string, std::string>{{"app", "shop"}}));
    EXPECT_EQ(container.pod_sandbox_id, kPod);
    EXPECT_EQ(container.pod_name, "app-0");
    EXPECT_EQ(container.pod_namespace, "prod");
    EXPECT_EQ(container.pod_uid, "u-1");
    EXPECT_EQ(container.addresses, (std::vector<std::string>{"10.1.2.3", "fd00::3"}));
    ASSERT_EQ(container.mounts.size(), 1U);
    EXPECT_EQ(container.mounts[0].source, "/srv/data");
    EXPECT_EQ(container.mounts[0].destination, "/data");
    EXPECT_FALSE(container.mounts[0].writable);
    EXPECT_EQ(container.mounts[0].propagation, "rslave");
    const auto stats = client.stats();
    ASSERT_EQ(stats.size(), 2U);
    EXPECT_EQ(stats[0].answers + stats[0].failures, 0U); // its socket is not there
    EXPECT_EQ(stats[1].answers, 1U);
    EXPECT_EQ(stats[1].failures, 0U);
}

TEST_F(Cri, MountsOfTheSpecStay) {
    serve();
    CriClient client(options());
    Container container;
    container.mounts = {{"/a", "/b", "Z", true, "rprivate"}};
    ASSERT_TRUE(client.describe(id(kId), container));
    ASSERT_EQ(container.mounts.size(), 1U);
    EXPECT_EQ(container.mounts[0].source, "/a");
}

TEST_F(Cri, NamesAnImageThatIsGivenByItsId) {
    runtime_.status.mutable_image()->set_image(kImage);
    runtime_.status.set_image_ref(kImage);
    serve();
    CriClient client(options());
    Container container;
    ASSERT_TRUE(client.describe(id(kId), container));
    EXPECT_EQ(container.image, "reg.example:5000/team/app:1.2");
    EXPECT_EQ(container.image_digest, kDigest);
    EXPECT_EQ(container.image_id, std::string(64, 'c'));

    // An image that was imported has no digest of any repository.
    images_.image.clear_repo_digests();
    images_.image.clear_repo_tags();
    Container bare;
    ASSERT_TRUE(client.describe(id(kId), bare));
    EXPECT_EQ(bare.image, kImage);
    EXPECT_EQ(bare.image_digest, "");
}

TEST_F(Cri, TheSandboxOfAPodIsAContainerToo) {
    serve();
    CriClient client(options());
    Container container;
    ASSERT_TRUE(client.describe(id(kPod), container));
    EXPECT_TRUE(container.complete);
    EXPECT_EQ(container.pod_name, "app-0");
    EXPECT_EQ(container.pod_sandbox_id, kPod);
    EXPECT_EQ(container.name, "");
}

TEST_F(Cri, KnowsNothingOfOthers) {
    serve();
    CriClient client(options());
    Container container;
    container.name = "before";
    EXPECT_FALSE(client.describe(id(std::string(64, 'e')), container));
    EXPECT_EQ(container.name, "before");
    EXPECT_FALSE(container.complete);
    EXPECT_EQ(client.stats()[1].failures, 0U); // that it is not there is no failure
}

TEST_F(Cri, LeavesAFaultyRuntimeAlone) {
    runtime_.error = grpc::Status(grpc::StatusCode::INTERNAL, "out of order");
    serve();
    CriClient client(options());
    Container container;
    EXPECT_FALSE(client.describe(id(kId), container));
    EXPECT_FALSE(client.describe(id(kId), container));
    EXPECT_EQ(runtime_.calls, 1);
    EXPECT_EQ(client.stats()[1].failures, 1U);
    EXPECT_EQ(client.stats()[1].last_error, "out of order");
}

TEST_F(Cri, DoesNotWaitForARuntimeThatHangs) {
    // Listens, and never says a word.
    const Fd server(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket_.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(server.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(server.get(), 8), 0);
    auto given = options();
    given.most_wait = std::chrono::milliseconds(100);
    CriClient client(given);
    Container container;
    EXPECT_FALSE(client.describe(id(kId), container));
    EXPECT_EQ(client.stats()[1].failures, 1U);
    EXPECT_FALSE(client.describe(id(kId), container)); // not asked again
    EXPECT_EQ(client.stats()[1].failures, 1U);
}

TEST_F(Cri, AFileInPlaceOfASocketIsSkipped) {
    std::ofstream(socket_) << "no socket";
    CriClient client(options());
    Container container;
    EXPECT_FALSE(client.describe(id(kId), container));
    EXPECT_EQ(client.stats()[1].failures, 0U);
}

} // namespace
} // namespace beeline::security
