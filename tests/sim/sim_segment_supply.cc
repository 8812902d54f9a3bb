#include "sim/sim_segment_supply.h"

#include "base/assert.h"
#include "spool/journal.h"

#include <algorithm>
#include <cerrno>
#include <deque>
#include <utility>

namespace ringmx::sim {

using worker::SegmentSupply;
using News = SegmentSupply::News;

class SimSegments::Supply final : public SegmentSupply {
  public:
    Supply(SimSegments& segments, std::uint32_t worker, ring::Waker& waker)
        : segments_(segments), worker_(worker), waker_(waker) {}

    void request(Urgency urgency) override {
        const bool at_once = urgency != Urgency::ahead;
        if (std::exchange(is_requested_, true)) {
            RINGMX_ASSERT_STATE(at_once, "worker %u asks for two segments at a time", worker_);
        } else {
            is_answered_ = false;
        }
        const Duration time = segments_.options_.request_time / (at_once ? 10 : 1);
        segments_.later(time, [this, urgency] {
            if (!std::exchange(is_answered_, true)) {
                segments_.create(worker_, urgency);
            }
        });
    }
    void discard(int descriptor, bool is_damaged) override {
        segments_.discard(descriptor, is_damaged);
    }
    void released() override {
        segments_.later(segments_.options_.request_time, [this] { segments_.delete_unneeded(); });
    }
    [[nodiscard]] bool take(News& news) override {
        if (news_.empty()) {
            return false;
        }
        news = news_.front();
        news_.pop_front();
        is_requested_ =
            is_requested_ && news.kind != News::Kind::segment && news.kind != News::Kind::failed;
        return true;
    }
    void tell(const News& news) {
        news_.push_back(news);
        waker_.wake();
    }

  private:
    SimSegments& segments_;
    std::uint32_t worker_;
    ring::Waker& waker_;
    bool is_requested_ = false; // and the worker has not heard of it
    bool is_answered_ = true;
    std::deque<News> news_;
};

SimSegments::SimSegments(SimNetwork& network, SimDisk& disk, const Options& options)
    : network_(network), disk_(disk), options_(options) {}

SimSegments::~SimSegments() = default;

void SimSegments::begin_run(const std::vector<ring::Waker*>& wakers) {
    ++generation_;
    supplies_.clear();
    own_.clear();
    adopted_.reset();
    pointers_.clear();
    reports_.clear();
    queue_ = {};
    for (ring::Waker* const waker : wakers) {
        const auto index = static_cast<std::uint32_t>(supplies_.size());
        supplies_.push_back(std::make_unique<Supply>(*this, index, *waker));
    }
}

SegmentSupply& SimSegments::supply(std::uint32_t worker) { return *supplies_.at(worker); }

void SimSegments::later(Duration time, std::function<void()> action) {
    network_.schedule(time, [this, run = generation_, action = std::move(action)] {
        if (run == generation_) {
            action();
        }
    });
}

// As the keeper: where earlier runs' files make the spool too large, a worker has some all the same.
void SimSegments::create(std::uint32_t worker, SegmentSupply::Urgency urgency) {
    constexpr std::ptrdiff_t segments_to_empty_a_spool = 2;
    const auto own = std::ranges::count(own_, worker, [](const auto& file) { return file.second; });
    const bool is_refused = urgency != SegmentSupply::Urgency::for_marks && is_over() &&
                            (adopted_files() == 0 || own >= segments_to_empty_a_spool);
    if (request_error != 0 || is_refused || disk_.files().size() >= options_.files_max) {
        ++refused_requests_;
        tell(worker,
             {.kind = News::Kind::failed, .error = request_error != 0 ? request_error : ENOSPC});
        return;
    }
    const int file = disk_.create(options_.segment_bytes, spool::segment_open_flags());
    own_[file] = worker;
    tell(worker, {.kind = News::Kind::segment,
                  .descriptor = file,
                  .size_bytes = options_.segment_bytes,
                  .is_written = urgency == SegmentSupply::Urgency::ahead,
                  .is_over = is_over() && adopted_files() > 0});
}

void SimSegments::discard(int file, bool is_damaged) {
    const auto found = own_.find(file);
    RINGMX_ASSERT_STATE(found != own_.end(), "file %d is discarded and not of this run", file);
    const std::uint32_t owner = found->second;
    own_.erase(found);
    if (is_damaged) {
        set_aside_.push_back(disk_.octets(file));
    }
    disk_.remove(file);
    tell(owner, {.kind = worker::SegmentSupply::News::Kind::discarded, .descriptor = file});
}

AdoptedQueue& SimSegments::recover() {
    RINGMX_ASSERT(adopted_ == nullptr);
    QueueReader reader;
    for (const int file : disk_.files()) {
        if (own_.contains(file)) {
            continue;
        }
        const auto size = static_cast<std::uint64_t>(disk_.octets(file).size());
        const spool::SegmentReader read = [&](std::uint64_t offset, std::span<std::byte> out) {
            return disk_.read(file, offset, out);
        };
        std::vector<std::byte> block(spool::block_bytes);
        (void)disk_.read(file, 0, std::span(block));
        const auto header = spool::decode_segment_header(block);
        const SegmentReport report =
            reader.read({file, size, header ? header->generation : 0}, read);
        if (report.kind == SegmentReport::Kind::unused) {
            disk_.remove(file);
        } else {
            reports_.push_back(report);
        }
    }
    queue_ = reader.finish();
    for (const auto& segment : queue_.segments) {
        pointers_.push_back(segment.get());
    }
    adopted_ = std::make_unique<AdoptedSegments>();
    adopted_->adopt(std::move(queue_.segments), std::move(queue_.marked));
    later({}, [this] { look(); });
    return queue_;
}

void SimSegments::look() {
    delete_unneeded();
    adopted_->note_what_is_in_the_way(is_over());
    if (adopted_files() > 0) {
        later(look_every, [this] { look(); });
    }
}

void SimSegments::delete_unneeded() {
    if (adopted_ == nullptr) {
        return;
    }
    for (auto unneeded = adopted_->unneeded(); !unneeded.empty(); unneeded = adopted_->unneeded()) {
        for (const std::uint32_t index : unneeded) {
            const worker::AdoptedSegment& segment = adopted_->at(index);
            if (segment.is_damaged.load(std::memory_order_relaxed)) {
                set_aside_.push_back(disk_.octets(segment.descriptor));
            }
            disk_.remove(segment.descriptor);
            adopted_->gone(index);
            tell_all({.kind = News::Kind::home_gone, .home = segment.name});
        }
    }
}

std::size_t SimSegments::adopted_files() const { return disk_.files().size() - own_.size(); }

void SimSegments::lose(int error) { tell_all({.kind = News::Kind::lost, .error = error}); }

void SimSegments::tell_file_system_error(int error) {
    tell_all({.kind = News::Kind::file_system, .error = error});
}

void SimSegments::tell(std::uint32_t worker, const News& news) { supplies_[worker]->tell(news); }

void SimSegments::tell_all(const News& news) {
    for (const std::unique_ptr<Supply>& supply : supplies_) {
        supply->tell(news);
    }
}

} // namespace ringmx::sim
