// A Port behind which everything happens at once: what a worker's own code costs for a message shows
// by itself, without a kernel's part and without a simulator's.
//
//   InstantPort port(clients, lines);
//   … a worker on it, whose listener is InstantPort::listener …
//   port.begin_round();                 each client says its lines, one at a time, and hears a reply
//   while (!port.is_round_over()) worker.turn();
//
// All clients whose reply was sent say their next line in the turn after. A send is whole, a write
// durable, in the turn that it was submitted in.
// Thread: one.
// Errors: none happen; what the loop should never ask of it aborts.
#pragma once

#include "base/assert.h"
#include "ring/port.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <numeric>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <utility>
#include <vector>

namespace ringmx::bench {

class InstantPort final : public ring::Port {
  public:
    static constexpr int listener = 3;

    // `opening`: what a client says once; `lines`: in each round.
    InstantPort(std::size_t clients, std::vector<std::string> opening,
                std::vector<std::string> lines)
        : opening_(std::move(opening)), lines_(std::move(lines)), clients_(clients) {}

    // Each connects, hears the greeting and says what it says once.
    void connect() {
        accepting_ = clients_.size();
        script_ = &opening_;
        // The greeting is a reply too.
        busy_ = clients_.size();
    }
    void begin_round() {
        script_ = &lines_;
        busy_ = clients_.size();
        for (std::size_t client = 0; client < clients_.size(); ++client) {
            clients_[client].next_line = 0;
            speaking_.push_back(client);
        }
    }
    [[nodiscard]] bool is_round_over() const { return busy_ == 0; }

    Instant turn(std::span<const ring::Operation> operations, Instant /*until*/,
                 std::vector<ring::Completion>& completions) override {
        now_ += std::chrono::microseconds(20);
        for (const std::size_t client : std::exchange(speaking_, {})) {
            speak(client, completions);
        }
        for (const ring::Operation& operation : operations) {
            submit(operation, completions);
        }
        for (; accepting_ > 0 && accept_.operation != 0; --accepting_) {
            completions.push_back({accept_, first_client + static_cast<int>(accepting_) - 1, true});
        }
        return now_;
    }

    void provide_buffer(std::uint16_t buffer_id, std::span<std::byte> memory) override {
        buffers_.push_back({buffer_id, memory});
    }
    [[nodiscard]] std::size_t provided_buffers_max() const override { return 16; }
    [[nodiscard]] bool incremental_buffers() const override { return true; }
    [[nodiscard]] Expected<int> open_socket(const SocketAddress& /*target*/) override {
        return std::unexpected(Error{"socket", EMFILE, "nobody is dialled"});
    }
    [[nodiscard]] Expected<SocketAddress> peer_address(int descriptor) override {
        SocketAddress address = SocketAddress::parse("192.0.2.7:1024").value();
        address.port = static_cast<std::uint16_t>(address.port + descriptor);
        return address;
    }
    [[nodiscard]] Expected<SocketAddress> local_address(int /*descriptor*/) override {
        return SocketAddress::parse("192.0.2.1:25").value();
    }
    void close(int /*descriptor*/, bool /*reset*/) override {}
    [[nodiscard]] Instant now() override { return now_; }
    [[nodiscard]] WallTime wall_time() override { return WallTime{now_.time_since_epoch()}; }
    [[nodiscard]] ring::Waker& waker() override { return waker_; }

  private:
    static constexpr int first_client = 100;

    struct Client {
        ring::Token receive;
        std::size_t next_line = 0;
    };
    struct Buffer {
        std::uint16_t id = 0;
        std::span<std::byte> room;
    };
    class DeafWaker final : public ring::Waker {
      public:
        void wake() override {}
    };

    void speak(std::size_t client, std::vector<ring::Completion>& completions) {
        const std::string_view line = (*script_)[clients_[client].next_line++];
        for (std::size_t told = 0; told < line.size();) {
            RINGMX_ASSERT(!buffers_.empty());
            Buffer& buffer = buffers_.front();
            const std::size_t count = std::min(line.size() - told, buffer.room.size());
            std::memcpy(buffer.room.data(), line.data() + told, count);
            told += count;
            buffer.room = buffer.room.subspan(count);
            completions.push_back({.token = clients_[client].receive,
                                   .result = static_cast<std::int32_t>(count),
                                   .more = true,
                                   .has_buffer = true,
                                   .buffer_more = !buffer.room.empty(),
                                   .buffer_id = buffer.id});
            if (buffer.room.empty()) {
                buffers_.pop_front();
            }
        }
    }

    void submit(const ring::Operation& operation, std::vector<ring::Completion>& completions) {
        using ring::Opcode;
        const auto client = static_cast<std::size_t>(operation.descriptor - first_client);
        switch (operation.code) {
        case Opcode::accept:
            accept_ = operation.token;
            return;
        case Opcode::receive:
            clients_[client].receive = operation.token;
            return;
        case Opcode::send:
            replied(client);
            completions.push_back(
                {operation.token, static_cast<std::int32_t>(operation.octets.size())});
            return;
        case Opcode::send_message:
            replied(client);
            completions.push_back({operation.token, bytes_of({operation.message->msg_iov,
                                                              operation.message->msg_iovlen})});
            return;
        case Opcode::write_file:
            completions.push_back({operation.token, bytes_of(operation.pieces)});
            return;
        case Opcode::cancel: // what it waits for never ends by itself
            completions.push_back({operation.target, -ECANCELED});
            completions.push_back({operation.token, 0});
            return;
        case Opcode::shutdown:
            completions.push_back({operation.token, 0});
            return;
        case Opcode::connect:
        case Opcode::finish:
        case Opcode::poll_in:
        case Opcode::poll_out:
        case Opcode::read:
        case Opcode::read_file:
            RINGMX_ASSERT(false);
        }
    }

    void replied(std::size_t client) {
        if (clients_[client].next_line < script_->size()) {
            speaking_.push_back(client);
        } else {
            --busy_;
        }
    }

    static std::int32_t bytes_of(std::span<const iovec> pieces) {
        return std::accumulate(pieces.begin(), pieces.end(), std::int32_t{0},
                               [](std::int32_t sum, const iovec& piece) {
                                   return sum + static_cast<std::int32_t>(piece.iov_len);
                               });
    }

    std::vector<std::string> opening_;
    std::vector<std::string> lines_;
    const std::vector<std::string>* script_ = &opening_;
    std::vector<Client> clients_;
    std::vector<std::size_t> speaking_; // in the next turn
    std::deque<Buffer> buffers_;
    ring::Token accept_;
    std::size_t accepting_ = 0;
    std::size_t busy_ = 0; // clients whose round is not over
    Instant now_{std::chrono::hours(1000)};
    DeafWaker waker_;
};

} // namespace ringmx::bench
