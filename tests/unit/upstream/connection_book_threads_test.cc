// Books of several workers on their own threads, over one backend with few connections: nobody
// waits for ever, nothing is counted twice.
#include "upstream/connection_book.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace ringmx::upstream {
namespace {

Instant now() { return Instant(std::chrono::steady_clock::now().time_since_epoch()); }

// A worker's wake: several count as one, one before the wait ends the next wait at once.
class Bell {
  public:
    void ring() {
        const std::lock_guard lock(mutex_);
        rung_ = true;
        ready_.notify_one();
    }
    // Until it rings or `deadline`. False: neither came in time: a wake was lost.
    bool wait(Instant deadline) {
        std::unique_lock lock(mutex_);
        const Duration patience = std::chrono::seconds(60);
        const Duration left = std::clamp(deadline - now(), Duration{0}, patience);
        const bool rung = ready_.wait_for(lock, left, [&] { return rung_; });
        rung_ = false;
        return rung || left < patience;
    }

  private:
    std::mutex mutex_;
    std::condition_variable ready_;
    bool rung_ = false;
};

struct Crowd {
    static constexpr std::uint32_t workers = 4;
    static constexpr int transactions = 1500;

    BackendRegistry registry;
    SharedCounters shares{256};
    std::unique_ptr<Pool> pool;
    std::vector<Bell> bells{workers};
    std::atomic<std::uint32_t> in_use{0};
    std::atomic<bool> too_many{false};
    std::atomic<bool> lost_wake{false};
    std::atomic<std::uint32_t> working{workers};

    explicit Crowd(std::uint32_t connections_max) {
        PoolSettings settings;
        settings.max_connections = connections_max;
        settings.idle_timeout = Duration{0}; // else its end would hide a wake that was lost
        settings.backends.resize(1);
        settings.backends[0].address = "10.0.0.1:25";
        pool = std::make_unique<Pool>(settings, registry);
    }

    void flush(ConnectionBook& book, std::uint32_t self) {
        for (const std::uint32_t worker : book.wakes()) {
            if (worker != self) {
                bells[worker].ring();
            }
        }
        book.clear_wakes();
    }

    // Uses the connection of a granted transaction and settles it, now this way, now that.
    void use(ConnectionBook& book, Answer answer, unsigned& random) {
        for (;;) {
            too_many = too_many || in_use.fetch_add(1) >= pool->settings.max_connections;
            random = random * 1664525U + 1013904223U;
            if ((random >> 16U) % 3 == 0) {
                std::this_thread::yield();
            }
            in_use.fetch_sub(1);
            if (answer.verdict == Verdict::dial) {
                book.transaction_answered(answer.lease);
            }
            if ((random >> 20U) % 4 == 0) {
                book.retire(answer.lease);
                return;
            }
            const GiveBack back = book.give_back(answer.lease, 1, now());
            if (back.kept == Kept::close) {
                book.connection_ended(answer.lease.state().id());
            }
            if (back.kept != Kept::handed_over) {
                return;
            }
            answer = back.grant.answer;
            ++done_[back.grant.transaction];
        }
    }

    void work(std::uint32_t self) {
        ConnectionBook book(self, shares, self);
        std::vector<IdleConnection> closing;
        unsigned random = self + 1;
        int begun = 0;
        const auto yield = [&] {
            closing.clear();
            book.expire_idle(now(), closing);
            for (const IdleConnection& idle : closing) {
                book.connection_ended(idle.state_id);
            }
        };
        while (begun < transactions || book.has_waiting()) {
            if (begun < transactions && book.waiting_count() < 3) {
                const TransactionHandle transaction =
                    self * transactions + static_cast<unsigned>(begun++);
                const Request request{pool.get(), 0, begun % 2 == 0 ? 5U : 0U, transaction, never};
                const Answer answer = book.acquire(request, {}, now());
                if (answer.verdict != Verdict::wait) {
                    ++done_[transaction];
                    use(book, answer, random);
                }
            }
            bool moved = false;
            while (const std::optional<Grant> grant = book.next_grant(now())) {
                ++done_[grant->transaction];
                use(book, grant->answer, random);
                moved = true;
            }
            flush(book, self);
            if (book.has_waiting() && !moved &&
                (begun == transactions || book.waiting_count() >= 3)) {
                if (!bells[self].wait(book.next_deadline())) {
                    lost_wake = true;
                    return;
                }
            }
            yield();
            flush(book, self);
        }
        // Idle, but still in service: what others wait for is yielded.
        working.fetch_sub(1);
        while (working.load() > 0 && !lost_wake) {
            yield();
            flush(book, self);
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        closing.clear();
        book.take_all_idle(closing);
        for (const IdleConnection& idle : closing) {
            book.connection_ended(idle.state_id);
        }
        book.clear_wakes();
    }

    void run() {
        std::vector<std::thread> threads;
        threads.reserve(workers);
        for (std::uint32_t worker = 0; worker < workers; ++worker) {
            threads.emplace_back([this, worker] { work(worker); });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
    }

    std::vector<std::uint8_t> done_ = std::vector<std::uint8_t>(workers * transactions);
};

TEST(ConnectionBookThreads, EveryTransactionOfEveryWorkerGetsAConnectionInTheEnd) {
    for (const std::uint32_t connections : {1U, 2U, 5U}) {
        Crowd crowd(connections);
        crowd.run();
        EXPECT_FALSE(crowd.lost_wake);
        EXPECT_FALSE(crowd.too_many);
        EXPECT_EQ(crowd.pool->states[0]->connections_open(), 0U);
        EXPECT_TRUE(std::ranges::all_of(crowd.done_, [](std::uint8_t done) { return done == 1; }));
    }
}

} // namespace
} // namespace ringmx::upstream
