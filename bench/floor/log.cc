// The least durable log on bare io_uring: what this machine's disk allows to a program that must
// have each message on stable storage before it says so.
//
//   floor_log FILE MESSAGES SIZE BATCH IN_FLIGHT [COMMITS_A_SECOND]
//
// Writes FILE once from end to end before it begins (a segment; overwritten blocks need no new
// metadata), then appends MESSAGES of SIZE octets to it, from its beginning again when it is full.
// A commit is one O_DIRECT|O_DSYNC write of up to BATCH messages, each copied once into an aligned
// buffer; IN_FLIGHT of them are under way at a time, one after the other or, with a rate, at instants
// as independent callers have them (a Poisson process); a commit's time then counts from its instant.
// Nothing is framed, checked or ever read.
// Prints one JSON object; the CPU is this process's from the first commit to the last, that of
// kernel threads that work for it is not in it.
#include "bare_ring.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <fcntl.h>
#include <memory>
#include <random>
#include <string>
#include <sys/resource.h>
#include <unistd.h>

namespace {

using namespace floor_bench;
using Clock = std::chrono::steady_clock;

constexpr std::size_t block_bytes = 4096; // what O_DIRECT is aligned to
constexpr std::size_t segment_bytes_min = 256UL * 1024 * 1024;

std::size_t rounded_up(std::size_t bytes) {
    return (bytes + block_bytes - 1) / block_bytes * block_bytes;
}

struct Freed {
    void operator()(void* memory) const { std::free(memory); }
};
using Aligned = std::unique_ptr<char, Freed>;

Aligned aligned(std::size_t bytes) {
    Aligned memory(static_cast<char*>(std::aligned_alloc(block_bytes, bytes)));
    if (memory == nullptr) {
        fail("memory", ENOMEM);
    }
    std::memset(memory.get(), 'x', bytes);
    return memory;
}

struct Commit {
    Aligned buffer;
    std::size_t messages = 0;
    Clock::time_point start;
};

double cpu_seconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + (static_cast<double>(time.tv_usec) / 1e6);
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class Program {
  public:
    Program(const char* path, std::size_t messages, std::size_t message_bytes, std::size_t batch,
            std::size_t in_flight, double rate)
        : message_(message_bytes, 'm'), batch_(batch),
          commit_bytes_(rounded_up(batch * message_bytes)),
          segment_bytes_(std::max(segment_bytes_min, in_flight * commit_bytes_)),
          messages_(messages), messages_left_(messages), commits_(in_flight),
          gap_seconds_(rate > 0 ? rate : 1), is_paced_(rate > 0) {
        for (Commit& commit : commits_) {
            commit.buffer = aligned(commit_bytes_);
            free_.push_back(&commit);
        }
        prepare(path);
    }

    void run() {
        const double cpu = cpu_seconds();
        const Clock::time_point start = Clock::now();
        due_.assign(is_paced_ ? 0 : commits_.size(), start);
        next_ = start;
        append_due();
        pace();
        ring_.run([this](const io_uring_cqe& completion) { complete(completion); },
                  [this] { return in_flight_ > 0 || is_waiting_; });
        report(std::chrono::duration<double>(Clock::now() - start).count(), cpu_seconds() - cpu);
    }

  private:
    void prepare(const char* path) {
        descriptor_ = ::open(path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_DSYNC, 0600);
        if (descriptor_ < 0) {
            fail("open", errno);
        }
        constexpr std::size_t piece_bytes = 4UL * 1024 * 1024;
        const Aligned piece = aligned(piece_bytes);
        segment_bytes_ = (segment_bytes_ + piece_bytes - 1) / piece_bytes * piece_bytes;
        for (std::size_t at = 0; at < segment_bytes_; at += piece_bytes) {
            if (::pwrite(descriptor_, piece.get(), piece_bytes, static_cast<off_t>(at)) !=
                static_cast<ssize_t>(piece_bytes)) {
                fail("write", errno);
            }
        }
        if (::fsync(descriptor_) != 0) {
            fail("fsync", errno);
        }
    }

    // Waits for the next instant at which somebody wants a commit.
    void pace() {
        is_waiting_ = is_paced_ && messages_left_ > due_.size() * batch_;
        if (!is_waiting_) {
            return;
        }
        next_ += std::chrono::nanoseconds(static_cast<long>(gap_seconds_(random_) * 1e9));
        const auto nanoseconds = next_.time_since_epoch().count();
        timeout_ = {.tv_sec = nanoseconds / 1'000'000'000, .tv_nsec = nanoseconds % 1'000'000'000};
        io_uring_sqe* const entry = ring_.next();
        io_uring_prep_timeout(entry, &timeout_, 0, IORING_TIMEOUT_ABS);
        io_uring_sqe_set_data64(entry, 0);
    }

    void append_due() {
        while (!due_.empty() && !free_.empty() && messages_left_ > 0) {
            free_.back()->start = is_paced_ ? due_.front() : Clock::now();
            due_.pop_front();
            append(*free_.back());
            free_.pop_back();
        }
    }

    void append(Commit& commit) {
        commit.messages = std::min(batch_, messages_left_);
        messages_left_ -= commit.messages;
        for (std::size_t index = 0; index < commit.messages; ++index) {
            std::memcpy(commit.buffer.get() + (index * message_.size()), message_.data(),
                        message_.size());
        }
        const std::size_t bytes = rounded_up(commit.messages * message_.size());
        if (at_ + bytes > segment_bytes_) {
            at_ = 0;
        }
        io_uring_sqe* const entry = ring_.next();
        io_uring_prep_write(entry, descriptor_, commit.buffer.get(), static_cast<unsigned>(bytes),
                            at_);
        io_uring_sqe_set_data64(entry, reinterpret_cast<std::uint64_t>(&commit));
        at_ += bytes;
        ++in_flight_;
    }

    void complete(const io_uring_cqe& completion) {
        if (completion.user_data == 0) {
            due_.push_back(next_);
            append_due();
            pace();
            return;
        }
        auto& commit = *reinterpret_cast<Commit*>(completion.user_data);
        if (completion.res != static_cast<int>(rounded_up(commit.messages * message_.size()))) {
            fail("write", completion.res < 0 ? -completion.res : EIO);
        }
        --in_flight_;
        commit_us_.push_back(
            std::chrono::duration<double, std::micro>(Clock::now() - commit.start).count());
        free_.push_back(&commit);
        if (!is_paced_) {
            due_.push_back({});
        }
        append_due();
    }

    void report(double seconds, double cpu) {
        std::ranges::sort(commit_us_);
        const auto quantile = [this](double part) {
            return commit_us_[static_cast<std::size_t>(part *
                                                       static_cast<double>(commit_us_.size() - 1))];
        };
        const auto messages = static_cast<double>(messages_);
        std::printf("{\"messages\": %zu, \"commits\": %zu, \"seconds\": %.6f, "
                    "\"messages_per_second\": %.1f, \"cpu_us_per_message\": %.3f, "
                    "\"commit_us\": {\"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f}}\n",
                    messages_, commit_us_.size(), seconds, messages / seconds, cpu * 1e6 / messages,
                    quantile(0.5), quantile(0.99), commit_us_.back());
    }

    BareRing ring_;
    std::string message_;
    std::size_t batch_;
    std::size_t commit_bytes_;
    std::size_t segment_bytes_;
    std::size_t messages_;
    std::size_t messages_left_;
    std::vector<Commit> commits_;
    std::vector<Commit*> free_;
    std::deque<Clock::time_point> due_; // commits that somebody wants
    std::mt19937_64 random_{1};
    std::exponential_distribution<double> gap_seconds_;
    Clock::time_point next_;
    __kernel_timespec timeout_{};
    bool is_paced_;
    bool is_waiting_ = false; // for the next instant
    std::vector<double> commit_us_;
    std::size_t at_ = 0;
    std::size_t in_flight_ = 0;
    int descriptor_ = -1;
};

} // namespace

int main(int argument_count, char** arguments) {
    std::array<std::size_t, 4> numbers{};
    const bool has_rate = argument_count == 7;
    for (std::size_t index = 0; (argument_count == 6 || has_rate) && index < numbers.size();
         ++index) {
        numbers[index] = std::strtoul(arguments[index + 2], nullptr, 10);
    }
    const double rate = has_rate ? std::strtod(arguments[6], nullptr) : 0;
    if (std::ranges::find(numbers, 0UL) != numbers.end() || (has_rate && rate <= 0)) {
        std::fprintf(stderr,
                     "usage: floor_log FILE MESSAGES SIZE BATCH IN_FLIGHT [COMMITS_A_SECOND]\n");
        return 2;
    }
    std::make_unique<Program>(arguments[1], numbers[0], numbers[1], numbers[2], numbers[3], rate)
        ->run();
}
