// The Port over a SimNetwork: io_uring as a loop sees it, with every liberty that the kernel may
// take, chosen by the seed.
//
//   - multishots end at any completion (more = false), receives meet -ENOBUFS with and without
//     cause;
//   - completions come late and overtake those of other operations, those with buffers among them;
//     receives keep their order among themselves, since they share buffers, as in the kernel;
//   - a send's octets are read when it is submitted, or later, or part by part; it is whole unless
//     the connection fails or a signal cuts it short: then it reports what had left;
//   - a cancel answers 0, -ENOENT or -EALREADY, before or after its target ends; the target ends
//     once, with -ECANCELED (a send: with what had left), or as it would have ended anyway;
//   - descriptors are reused, lowest first;
//   - operations on files (of a SimDisk) end in any order; a cancel finds them busy.
//
// What a correct loop never does aborts: closing a descriptor with an operation in flight on it,
// two operations with one token, two sends at a time on one socket, more provided buffers than
// allowed, providing one that is still provided.
//
// turn() runs due events and peers' scripts. With several ports on one network (several workers on
// one thread), turn those that have work, and all in a circle when none has: a turn that finds
// nothing returns early with nothing when another port has something to do. stop() before a port is
// no longer turned.
// Thread: one.
// Errors: as Port says.
#pragma once

#include "ring/port.h"
#include "sim/sim_network.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <vector>

namespace ringmx::sim {

class SimDisk;

class SimPort final : public ring::Port {
  public:
    explicit SimPort(SimNetwork& network);
    // Resets every connection, as the end of a process does.
    ~SimPort() override;
    SimPort(const SimPort&) = delete;
    SimPort& operator=(const SimPort&) = delete;

    // Where files are; outlives the port.
    void attach(SimDisk& disk) { disk_ = &disk; }
    // A listening descriptor. Several ports may listen at one address: connections are spread over
    // them.
    [[nodiscard]] int listen(const SocketAddress& address);
    // Operations whose last completion was not given out yet.
    [[nodiscard]] std::size_t in_flight() const { return operations_.size() + ended_undelivered_; }
    [[nodiscard]] std::size_t open_descriptors() const { return descriptors_.size(); }
    // From now on what would need more descriptors than so many fails with EMFILE.
    void bound_descriptors(std::size_t count) { descriptors_max_ = count; }
    // Whether a turn would find something to do without time going on.
    [[nodiscard]] bool has_work() const { return runnable(); }
    // This port will not be turned any more: time goes on without it.
    void stop();
    void resume() { stopped_ = false; } // it will be again

    Instant turn(std::span<const ring::Operation> operations, Instant until,
                 std::vector<ring::Completion>& completions) override;
    void provide_buffer(std::uint16_t buffer_id, std::span<std::byte> memory) override;
    [[nodiscard]] std::size_t provided_buffers_max() const override;
    [[nodiscard]] bool incremental_buffers() const override;
    [[nodiscard]] Expected<int> open_socket(const SocketAddress& target) override;
    [[nodiscard]] Expected<SocketAddress> peer_address(int descriptor) override;
    [[nodiscard]] Expected<SocketAddress> local_address(int descriptor) override;
    void close(int descriptor, bool reset = false) override;
    [[nodiscard]] Instant now() override { return network_.now(); }
    [[nodiscard]] WallTime wall_time() override;
    [[nodiscard]] ring::Waker& waker() override { return waker_; }

  private:
    friend class SimNetwork;
    struct InFlight {
        ring::Operation operation;
        std::size_t progress = 0;     // a send's octets that left
        Instant last_due{};           // of what it has completed with so far
        std::uint64_t disk_write = 0; // of write_file
    };
    struct Descriptor {
        std::uint64_t endpoint = 0; // 0: a listener
        SocketAddress listening_at;
        std::deque<std::uint64_t> backlog;
        std::set<std::uint64_t> operations; // in flight on it
        std::size_t undelivered = 0;        // ended, but the loop doesn't know yet
    };
    struct Ended {
        ring::Completion completion;
        int descriptor = -1; // whose undelivered it counts in; -1: none
        Instant due;
    };
    struct Provided {
        std::uint16_t id = 0;
        std::span<std::byte> room; // what is left of it
    };
    class SimWaker final : public ring::Waker {
      public:
        void wake() override { woken = true; }
        bool woken = false;
    };

    // For the network.
    [[nodiscard]] bool runnable() const;
    [[nodiscard]] Instant until() const { return until_; }
    void touched(int descriptor); // its state changed
    void add_to_backlog(int descriptor, std::uint64_t endpoint);

    void submit(const ring::Operation& operation);
    void submit_connect(std::uint64_t id, const ring::Operation& operation);
    void submit_cancel(const ring::Operation& operation);
    void submit_file(std::uint64_t id, const ring::Operation& operation);
    void end_file(std::uint64_t id);
    void cut(std::uint64_t id); // cancelled
    void shut_down(const ring::Operation& operation);
    [[nodiscard]] static bool is_send(ring::Opcode code);
    [[nodiscard]] static bool is_file(ring::Opcode code);
    void try_candidates();
    void try_operation(std::uint64_t id);
    void try_accept(std::uint64_t id, Descriptor& descriptor);
    void try_receive(std::uint64_t id, Endpoint& endpoint);
    void try_send(std::uint64_t id, InFlight& flight, Endpoint& endpoint);
    void try_poll(std::uint64_t id, InFlight& flight, Endpoint& endpoint);
    void try_read(std::uint64_t id, InFlight& flight, Endpoint& endpoint);
    // Fills the front buffer; true: the receive goes on.
    bool receive_segment(std::uint64_t id, Endpoint& endpoint);

    // in_order: not before what was posted in order before it.
    void post(std::uint64_t id, ring::Completion completion, bool in_order);
    void end(std::uint64_t id, std::int32_t result, bool in_order = false);
    bool hand_out(std::vector<ring::Completion>& completions);
    [[nodiscard]] int lowest_free_descriptor() const;
    [[nodiscard]] Endpoint* endpoint_of(int descriptor);
    Endpoint& adopt(Endpoint& endpoint);

    SimNetwork& network_;
    SimDisk* disk_ = nullptr;
    std::shared_ptr<int> life_ =
        std::make_shared<int>(0); // events ask it whether the port is still there
    SimWaker waker_;
    Instant until_ = never;
    bool waiting_ = true; // has nothing to do before until_, a completion or a wake
    bool stopped_ = false;
    std::uint64_t last_operation_ = 0;
    std::map<std::uint64_t, InFlight> operations_;
    std::map<std::uint64_t, std::uint64_t> by_token_; // all but cancels
    std::set<std::uint64_t> candidates_;              // operations that may be able to complete
    std::map<int, Descriptor> descriptors_;
    std::size_t descriptors_max_ = SIZE_MAX;
    std::deque<Ended> ended_;
    Instant in_order_due_{};
    std::size_t ended_undelivered_ = 0;
    std::deque<Provided> provided_;
};

} // namespace ringmx::sim
