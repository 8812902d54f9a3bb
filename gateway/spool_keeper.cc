#include "spool_keeper.h"

#include "base/assert.h"
#include "base/spsc_ring.h"
#include "spool_layout.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <ctime>
#include <deque>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <set>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace ringmx {

using News = worker::SegmentSupply::News;

namespace {

// Beside discards: a request, and its hurrying.
constexpr std::size_t requests_max = 2;
constexpr std::size_t news_places = 256; // what has no place waits
// One that marks are written to, one in reserve.
constexpr std::uint32_t segments_to_empty_a_spool = 2;

Instant now() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return Instant(std::chrono::seconds(time.tv_sec) + Duration(time.tv_nsec));
}

} // namespace

// One worker's end, and what the keeper knows of it.
class SpoolKeeper::Supply final : public worker::SegmentSupply {
  public:
    Supply(SpoolKeeper& keeper, ring::Waker& waker, std::uint32_t files_max)
        : commands(std::bit_ceil(files_max + requests_max)), keeper_(keeper), waker_(waker) {}

    // The worker's.
    void request(Urgency urgency) override {
        if (!std::exchange(is_requested_, true)) {
            push({.kind = Command::Kind::request, .urgency = urgency});
        } else if (urgency != Urgency::ahead) {
            push({.kind = Command::Kind::hurry});
        }
    }
    void discard(int descriptor, bool is_damaged) override {
        push({.kind = Command::Kind::discard, .descriptor = descriptor, .is_damaged = is_damaged});
    }
    void released() override {
        keeper_.is_released_.store(true, std::memory_order_release);
        keeper_.wake();
    }
    [[nodiscard]] bool take(News& taken) override {
        if (news_.try_pop(taken)) {
            is_requested_ = is_requested_ && taken.kind != News::Kind::segment &&
                            taken.kind != News::Kind::failed;
            return true;
        }
        if (is_backlogged_.load(std::memory_order_acquire)) {
            keeper_.wake();
        }
        return false;
    }

    // The keeper's.
    struct Command {
        enum class Kind : std::uint8_t { request, hurry, discard };
        Kind kind = Kind::request;
        int descriptor = -1;
        Urgency urgency = Urgency::ahead;
        bool is_damaged = false;
    };
    void tell(const News& news) {
        backlog_.push_back(news);
        flush();
    }
    void flush() {
        const bool has_some = !backlog_.empty();
        while (!backlog_.empty() && news_.try_push(backlog_.front())) {
            backlog_.pop_front();
        }
        is_backlogged_.store(!backlog_.empty(), std::memory_order_release);
        if (has_some) {
            waker_.wake();
        }
    }

    SpscRing<Command> commands;
    std::optional<NewSegment> making;
    bool is_hurried = false; // mail waits for it
    bool is_over = false;    // it is above what the spool may take

  private:
    void push(Command command) {
        const bool has_room = commands.try_push(command);
        RINGMX_ASSERT_STATE(has_room, "a worker gives more than %zu commands at a time",
                            commands.capacity());
        keeper_.wake();
    }

    SpoolKeeper& keeper_;
    ring::Waker& waker_;
    bool is_requested_ = false; // the worker's
    SpscRing<News> news_{news_places};
    std::deque<News> backlog_;
    std::atomic<bool> is_backlogged_{false};
};

SpoolKeeper::SpoolKeeper(SpoolDirectory directory, const SpoolSizes& sizes,
                         const std::vector<ring::Waker*>& wakers, SpoolNotices& notices,
                         Duration look_every)
    : directory_(std::move(directory)), sizes_(sizes), notices_(notices), look_every_(look_every),
      doorbell_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), numbers_(wakers.size()),
      adopted_(directory_, notices, deleted_) {
    RINGMX_ASSERT_STATE(doorbell_.is_open(), "eventfd: %d", errno);
    const std::uint32_t segments_max = sizes.segments_max + sizes.held_segments_max;
    for (ring::Waker* const waker : wakers) {
        supplies_.push_back(std::make_unique<Supply>(
            *this, *waker, segments_max + worker::extra_segments(segments_max)));
    }
}

SpoolKeeper::~SpoolKeeper() { stop(); }

worker::SegmentSupply& SpoolKeeper::supply(std::uint32_t worker) { return *supplies_.at(worker); }

void SpoolKeeper::start() {
    thread_ = std::thread([this] { run(); });
}

void SpoolKeeper::stop() {
    is_stopped_.store(true, std::memory_order_relaxed);
    wake();
    if (thread_.joinable()) {
        thread_.join();
    }
}

std::vector<worker::AdoptedSegment*> SpoolKeeper::adopt(RecoveredSpool& recovered) {
    std::vector<worker::AdoptedSegment*> segments;
    segments.reserve(recovered.queue.segments.size());
    for (const auto& segment : recovered.queue.segments) {
        segments.push_back(segment.get());
    }
    RecoveredSpool taken;
    taken.queue.segments = std::move(recovered.queue.segments);
    taken.queue.marked = std::move(recovered.queue.marked);
    taken.files = std::move(recovered.files);
    taken.runs = std::move(recovered.runs);
    {
        const std::scoped_lock lock(arriving_mutex_);
        arriving_ = std::move(taken);
    }
    wake();
    return segments;
}

void SpoolKeeper::wake() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(doorbell_.number(), &one, sizeof one);
}

void SpoolKeeper::wait(Instant until) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now());
    pollfd bell{doorbell_.number(), POLLIN, 0};
    (void)::poll(&bell, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    std::uint64_t rung = 0;
    [[maybe_unused]] const ssize_t got = ::read(doorbell_.number(), &rung, sizeof rung);
}

void SpoolKeeper::run() {
    Instant next_look = now() + look_every_;
    bool is_working = false;
    while (!is_stopped_.load(std::memory_order_relaxed)) {
        wait(is_working ? Instant{} : std::min(next_look, deleted_.deadline()));
        for (std::uint32_t worker = 0; worker < supplies_.size(); ++worker) {
            supplies_[worker]->flush();
            obey(worker);
        }
        take_adopted();
        if (is_released_.exchange(false, std::memory_order_acq_rel)) {
            delete_unneeded();
        }
        is_working = work();
        deleted_.run(now());
        if (now() >= next_look) {
            look();
            next_look = now() + look_every_;
        }
    }
    // What workers discarded when they left.
    for (std::uint32_t worker = 0; worker < supplies_.size(); ++worker) {
        obey(worker);
        supplies_[worker]->making.reset();
    }
    delete_unneeded();
}

void SpoolKeeper::obey(std::uint32_t worker) {
    Supply& supply = *supplies_[worker];
    Supply::Command command;
    while (supply.commands.try_pop(command)) {
        switch (command.kind) {
        case Supply::Command::Kind::request:
            supply.is_hurried = command.urgency != worker::SegmentSupply::Urgency::ahead;
            begin(worker, command.urgency == worker::SegmentSupply::Urgency::for_marks);
            break;
        case Supply::Command::Kind::hurry: // its answer may be on its way already
            supply.is_hurried = true;
            break;
        case Supply::Command::Kind::discard:
            discard(command.descriptor, command.is_damaged);
            break;
        }
    }
}

void SpoolKeeper::begin(std::uint32_t worker, bool is_for_marks) {
    Supply& supply = *supplies_[worker];
    if (is_stopped_.load(std::memory_order_relaxed)) {
        return;
    }
    if (is_lost_) {
        supply.tell({.kind = News::Kind::failed, .error = ENOENT});
        return;
    }
    supply.is_over = would_be_over();
    if (supply.is_over && !is_for_marks && segments_of(worker) >= segments_to_empty_a_spool) {
        supply.tell({.kind = News::Kind::failed, .error = ENOSPC});
        return;
    }
    const auto create = [&] {
        return NewSegment::create(directory_.run_folder(), directory_.run_path(),
                                  segment_name(worker, ++numbers_[worker]), sizes_.segment_bytes);
    };
    std::optional<Expected<NewSegment>> tried(create());
    while (!*tried && tried->error().code == EEXIST) { // a folder that was put back has some
        tried.emplace(create());
    }
    Expected<NewSegment>& made = *tried;
    if (!made) {
        fail(worker, made.error());
        return;
    }
    if (made->is_buffered() && !std::exchange(is_buffered_told_, true)) {
        notices_.add(LogLevel::warning,
                     fmt::format("spool: the file system of {} has no O_DIRECT: writing through "
                                 "the page cache costs more",
                                 directory_.path()));
    }
    supply.making.emplace(std::move(*made));
}

// By one segment more. Earlier runs' files only get fewer.
bool SpoolKeeper::would_be_over() {
    if (!has_earlier_) {
        return false; // no worker asks for more than its part but for marks
    }
    if (const auto earlier =
            bytes_of_runs_before(directory_.generation(), directory_.directory())) {
        earlier_bytes_ = *earlier;
        has_earlier_ = *earlier > 0;
    }
    const auto making = std::ranges::count_if(supplies_, [](const std::unique_ptr<Supply>& supply) {
        return supply->making.has_value();
    });
    const std::uint64_t segments = own_.size() + static_cast<std::uint64_t>(making) + 1;
    return has_earlier_ && earlier_bytes_ + segments * sizes_.segment_bytes > sizes_.bytes_max;
}

std::uint32_t SpoolKeeper::segments_of(std::uint32_t worker) const {
    return static_cast<std::uint32_t>(std::ranges::count_if(own_, [worker](const auto& each) {
        return each.second.worker == worker && !each.second.is_lost && !each.second.is_leaving;
    }));
}

// Hurried ones first, and whole; of the others one step of the next worker's.
bool SpoolKeeper::work() {
    const auto count = static_cast<std::uint32_t>(supplies_.size());
    for (std::uint32_t worker = 0; worker < count; ++worker) {
        Supply& supply = *supplies_[worker];
        while (supply.making && supply.is_hurried && !supply.making->is_allocated() &&
               !supply.making->is_written()) {
            step(worker);
        }
        if (supply.making && supply.is_hurried) {
            give(worker);
        }
    }
    for (std::uint32_t tried = 0; tried < count; ++tried) {
        const std::uint32_t worker = next_++ % count;
        if (supplies_[worker]->making) {
            step(worker);
            return true;
        }
    }
    return false;
}

void SpoolKeeper::step(std::uint32_t worker) {
    Supply& supply = *supplies_[worker];
    if (const auto written = supply.making->step(); !written) {
        supply.making.reset();
        fail(worker, written.error());
    } else if (supply.making->is_written()) {
        give(worker);
    }
}

void SpoolKeeper::give(std::uint32_t worker) {
    Supply& supply = *supplies_[worker];
    std::string name = supply.making->name();
    const bool is_written = supply.making->is_written();
    Expected<OwnedDescriptor> file = supply.making->finish();
    supply.making.reset();
    if (!file) {
        fail(worker, file.error());
        return;
    }
    is_refused_told_ = false;
    const int descriptor = file->number();
    own_[descriptor] = {.worker = worker, .name = std::move(name), .file = std::move(*file)};
    supply.tell({.kind = News::Kind::segment,
                 .descriptor = descriptor,
                 .size_bytes = sizes_.segment_bytes,
                 .is_written = is_written,
                 .is_over = supply.is_over});
}

void SpoolKeeper::fail(std::uint32_t worker, const Error& error) {
    if (!std::exchange(is_refused_told_, true)) {
        notices_.add(LogLevel::error,
                     fmt::format("spool: no further segment: {}", error.message()));
    }
    supplies_[worker]->tell({.kind = News::Kind::failed, .error = error.code});
}

void SpoolKeeper::discard(int descriptor, bool is_damaged) {
    const auto found = own_.find(descriptor);
    RINGMX_ASSERT_STATE(found != own_.end(), "descriptor %d is discarded and none of ours",
                        descriptor);
    found->second.is_damaged = is_damaged;
    if (delete_own(descriptor, found->second)) {
        own_.erase(found);
        return;
    }
    found->second.is_leaving = true;
}

// Told once.
bool SpoolKeeper::delete_own(int descriptor, Own& own) {
    if (const std::optional<Error> fault = own.is_damaged ? move_aside(own) : delete_file(own)) {
        if (!own.is_leaving) {
            notices_.add(LogLevel::warning, fault->message());
        }
        return false;
    }
    // Where that fails what is in it may come back, and a later success would prove nothing. Its worker
    // knows it by its descriptor, whose number must not come again.
    if (::fsync(directory_.run_folder()) == 0) {
        supplies_[own.worker]->tell({.kind = News::Kind::discarded, .descriptor = descriptor});
        deleted_.add(std::move(own.file));
    } else {
        in_doubt_.push_back(std::move(own.file));
    }
    return true;
}

std::optional<Error> SpoolKeeper::delete_file(const Own& own) const {
    if (::unlinkat(directory_.run_folder(), own.name.c_str(), 0) != 0 && errno != ENOENT) {
        return Error{"spool: delete", errno, directory_.run_path() + "/" + own.name};
    }
    return std::nullopt;
}

std::optional<Error> SpoolKeeper::move_aside(const Own& own) {
    const auto moved =
        set_aside(directory_.directory(), directory_.path(), directory_.generation(), own.name);
    if (moved) {
        notices_.add(LogLevel::warning, fmt::format("spool: {}/{}: can't be read; set aside as {}",
                                                    directory_.run_path(), own.name, *moved));
    }
    return moved || !may_be_in(directory_.run_folder(), own.name) ? std::nullopt
                                                                  : std::optional(moved.error());
}

void SpoolKeeper::delete_leaving() {
    for (auto each = own_.begin(); each != own_.end();) {
        const bool is_gone = each->second.is_leaving && delete_own(each->first, each->second);
        each = is_gone ? own_.erase(each) : std::next(each);
    }
}

void SpoolKeeper::take_adopted() {
    std::optional<RecoveredSpool> arrived;
    {
        const std::scoped_lock lock(arriving_mutex_);
        arrived = std::exchange(arriving_, std::nullopt);
    }
    if (arrived) {
        adopted_.adopt(std::move(*arrived));
        delete_unneeded();
    }
}

void SpoolKeeper::delete_unneeded() {
    for (const spool::SegmentName& home : adopted_.delete_unneeded()) {
        tell_all({.kind = News::Kind::home_gone, .home = home});
    }
}

void SpoolKeeper::look() {
    if (is_lost_) {
        if (const auto again = directory_.reopen(); !again) {
            if (again.error().message() != std::exchange(lasting_fault_, again.error().message())) {
                notices_.add(LogLevel::error, again.error().message());
            }
        } else {
            lasting_fault_.clear();
            is_lost_ = false;
            has_earlier_ = true; // in this one there may be some
            notices_.add(LogLevel::info,
                         fmt::format("spool: {} is there again", directory_.path()));
        }
        return;
    }
    if (directory_.is_there()) {
        delete_leaving();
        delete_unneeded();
        look_at_segments();
        look_at_file_system();
        adopted_.look(would_be_over());
        return;
    }
    is_lost_ = true;
    notices_.add(LogLevel::error,
                 fmt::format("spool: {} is gone, was moved, or is not mounted any more: what was "
                             "written to it is not safe, nothing more is",
                             directory_.path()));
    for (auto& [descriptor, own] : own_) {
        own.is_lost = true;
    }
    for (const std::unique_ptr<Supply>& supply : supplies_) {
        if (supply->making) { // a worker that got it would take the spool for well again
            supply->making.reset();
            supply->tell({.kind = News::Kind::failed, .error = ENOENT});
        }
    }
    tell_all({.kind = News::Kind::lost, .error = ENOENT});
}

void SpoolKeeper::look_at_segments() {
    std::set<std::uint32_t> losers;
    for (auto& [descriptor, own] : own_) {
        struct stat status{};
        if (!own.is_lost && !own.is_leaving && ::fstat(descriptor, &status) == 0 &&
            status.st_nlink == 0) {
            own.is_lost = true;
            losers.insert(own.worker);
            notices_.add(LogLevel::error,
                         fmt::format("spool: {}/{} was deleted: what was written to it is not safe",
                                     directory_.run_path(), own.name));
        }
    }
    for (const std::uint32_t worker : losers) {
        supplies_[worker]->tell({.kind = News::Kind::lost, .error = ENOENT});
    }
}

void SpoolKeeper::look_at_file_system() {
    const int error = directory_.write_error();
    if (error != std::exchange(write_error_, error)) {
        tell_all({.kind = News::Kind::file_system, .error = error});
    }
}

void SpoolKeeper::tell_all(const News& news) {
    for (const std::unique_ptr<Supply>& supply : supplies_) {
        supply->tell(news);
    }
}

} // namespace ringmx
