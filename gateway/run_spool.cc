#include "run_spool.h"

#include "configuration.h"

#include "base/assert.h"
#include "owned_descriptor.h"
#include "spool_layout.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <utility>

namespace ringmx {
namespace {

spool::Nonce random_nonce() {
    spool::Nonce nonce{};
    const ssize_t count = ::getrandom(nonce.data(), nonce.size(), 0);
    RINGMX_ASSERT(count ==
                  static_cast<ssize_t>(nonce.size())); // up to 256 octets always come whole
    return nonce;
}

} // namespace

Expected<std::unique_ptr<RunSpool>> RunSpool::open(const Settings& settings,
                                                   std::uint32_t workers) {
    if (!spools(settings)) {
        return nullptr;
    }
    Expected<SpoolDirectory> directory = SpoolDirectory::open(settings.spool.directory);
    if (!directory) {
        return std::unexpected(directory.error());
    }
    const SpoolSizes sizes =
        SpoolSizes::of(settings.spool.max_size_bytes, settings.spool.held.max_size_bytes, workers);
    return std::unique_ptr<RunSpool>(new RunSpool(std::move(*directory), sizes, workers));
}

std::uint64_t RunSpool::descriptors(const Settings& settings, std::size_t workers) {
    if (!spools(settings)) {
        return 0;
    }
    const SpoolSizes sizes =
        SpoolSizes::of(settings.spool.max_size_bytes, settings.spool.held.max_size_bytes,
                       static_cast<std::uint32_t>(workers));
    return 2 * workers * (std::uint64_t{sizes.segments_max} + sizes.held_segments_max);
}

std::string RunSpool::left_behind(const Settings& settings) {
    const std::string& path = settings.spool.directory;
    const OwnedDescriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (spools(settings) || !folder.is_open()) {
        return {};
    }
    const Expected<std::vector<std::uint32_t>> runs = runs_in(folder.number(), path);
    if (!runs || runs->empty()) {
        return {};
    }
    return fmt::format("/spool/directory: no listener acknowledges from the spool, so mail that "
                       "earlier runs left in {} is not delivered: see ringmx spool inspect {}, and "
                       "give a listener \"acknowledge\": \"spool\" until it is empty",
                       path, path);
}

void RunSpool::start(const std::vector<ring::Waker*>& workers, ring::Waker& main) {
    recovery_ = std::make_unique<SpoolRecovery>(*directory_, workers_, notices_, main);
    recovery_->start();
    keeper_ = std::make_unique<SpoolKeeper>(std::move(*directory_), sizes_, workers, notices_);
    directory_.reset();
    keeper_->start();
}

worker::SpoolOptions RunSpool::options_of(std::uint32_t worker) {
    return {.supply = &keeper_->supply(worker),
            .generation = generation_,
            .segment_bytes = sizes_.segment_bytes,
            .segments_max = sizes_.segments_max,
            .held_segments_max = sizes_.held_segments_max,
            .make_nonce = random_nonce};
}

std::vector<worker::Inbox> RunSpool::recovered() {
    std::optional<RecoveredSpool> found = recovery_->take();
    if (!found) {
        return {};
    }
    std::vector<worker::Inbox> parts(workers_);
    std::size_t count = 0;
    const std::uint64_t bytes = found->bytes;
    const std::vector<worker::AdoptedSegment*> segments = keeper_->adopt(*found);
    for (std::size_t index = 0; index < parts.size(); ++index) {
        parts[index] = {.kind = worker::Inbox::Kind::adopt,
                        .messages = std::move(found->messages[index]),
                        .segments = segments};
        count += parts[index].messages.size();
    }
    recovery_.reset();
    if (bytes > 0) {
        notices_.add(
            LogLevel::info,
            fmt::format("the spool of earlier runs is read ({} MiB): {} message{} to go on "
                        "with",
                        bytes >> 20U, count, count == 1 ? "" : "s"));
    }
    return parts;
}

std::optional<std::uint64_t>
RunSpool::unread_bytes(std::span<const observe::WorkerCounters* const> workers) const {
    const bool is_in_queues =
        std::ranges::all_of(workers, [](const observe::WorkerCounters* worker) {
            return worker->queue_has_earlier.is_set();
        });
    if (is_in_queues) {
        return std::nullopt;
    }
    return recovery_ != nullptr ? recovery_->bytes_left() : 0;
}

std::string RunSpool::unready(std::span<const observe::WorkerCounters* const> workers) const {
    for (const observe::WorkerCounters* worker : workers) {
        const auto error = static_cast<int>(worker->spool_error.value());
        if (error == ENOENT) { // until a worker has a segment in what is there again
            return "the spool's directory, or a file in it, is gone";
        }
        if (error != 0) {
            return fmt::format("the spool can't be written: {}", std::strerror(error));
        }
    }
    // One worker's part may be full by a single client's doing: then the others' are still of use.
    const bool is_full = std::ranges::none_of(workers, [](const observe::WorkerCounters* worker) {
        return worker->spool_takes_mail.value() != 0;
    });
    return is_full ? "the spool is full" : "";
}

void RunSpool::stop() {
    recovery_.reset();
    if (keeper_ != nullptr) {
        keeper_->stop();
    }
}

} // namespace ringmx
