// A small loop for tests of Ports: connections that gather what they receive, echo it if asked, and
// send strings, by the rules of the ring.
#pragma once

#include "ring/receive_buffers.h"
#include "ring/sockets.h"
#include "ring/uring_port.h"
#include "sim/sim_disk.h"
#include "sim/sim_port.h"

#include <cerrno>
#include <cstdlib>
#include <deque>
#include <fcntl.h>
#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace ringmx::ring {

enum class PortKind : std::uint8_t { uring, uring_masked, sim, sim_hostile };

// A Port of the kind, and how to listen on it.
class PortUnderTest {
  public:
    explicit PortUnderTest(PortKind kind, std::uint64_t seed = 1) {
        if (kind == PortKind::sim || kind == PortKind::sim_hostile) {
            sim::Options options;
            options.seed = seed;
            network_ = std::make_unique<sim::SimNetwork>(
                kind == PortKind::sim ? options : sim::Options::hostile(seed));
            auto made = std::make_unique<sim::SimPort>(*network_);
            sim_ = made.get();
            sim_->attach(disk_);
            port_ = std::move(made);
            return;
        }
        UringPort::Settings settings;
        settings.submissions = 64; // small: the tests overflow it
        settings.features = probe().value();
        settings.features.incremental_buffers &= kind == PortKind::uring;
        Expected<std::unique_ptr<UringPort>> made = UringPort::create(settings);
        EXPECT_TRUE(made.has_value()) << made.error().message();
        port_ = std::move(made.value());
    }

    [[nodiscard]] Port& port() { return *port_; }
    [[nodiscard]] sim::SimNetwork* network() { return network_.get(); }
    [[nodiscard]] int listen(SocketAddress& address) {
        if (sim_ != nullptr) {
            address.port = 2525;
            return sim_->listen(address);
        }
        const int descriptor = listen_on(address, 1024, false).value();
        address = local_address(descriptor).value();
        return descriptor;
    }
    // An empty file that can be read and written.
    [[nodiscard]] int open_file() {
        if (sim_ != nullptr) {
            return disk_.create(0, O_DSYNC);
        }
        std::string path = testing::TempDir() + "ringmx-port-XXXXXX";
        const int descriptor = ::mkstemp(path.data());
        EXPECT_GE(descriptor, 0);
        ::unlink(path.c_str());
        return descriptor;
    }
    void close_file(int descriptor) {
        if (sim_ != nullptr) {
            disk_.remove(descriptor);
        } else {
            ::close(descriptor);
        }
    }

  private:
    std::unique_ptr<sim::SimNetwork> network_; // outlives the port, as the disk does
    sim::SimDisk disk_;
    sim::SimPort* sim_ = nullptr;
    std::unique_ptr<Port> port_;
};

enum TestOperation : std::uint8_t {
    op_accept,
    op_receive,
    op_send,
    op_connect,
    op_cancel,
    op_shutdown,
    op_file
};

class Harness {
  public:
    struct Connection {
        std::uint32_t slot = 0;
        int descriptor = -1;
        bool echo = false;
        bool connected = false;
        bool receive_armed = false;
        bool receiving = true; // arms again by itself
        bool ended = false;
        int error = 0;
        int cancelled = 0; // completions with -ECANCELED
        std::size_t in_flight = 0;
        std::string received;
        std::vector<Slice> held; // when the harness holds slices
        std::deque<std::string> output;
        bool sending = false;
        std::size_t sent = 0;
        std::vector<int> cancel_results;
        std::vector<int> send_results;
        sockaddr_storage target{};
    };

    explicit Harness(Port& port, std::size_t pool_bytes = 8U << 20U)
        : port_(port), pool_({.bytes_max = pool_bytes}), buffers_(pool_, port) {}
    ~Harness() { close_all(); }
    Harness(const Harness&) = delete;
    Harness& operator=(const Harness&) = delete;

    bool hold_slices = false;
    bool echo_accepted = true;
    bool receive_accepted = true;

    void accept(int listener) {
        listener_ = listener;
        ++accept_in_flight_;
        queue({.slot = 0, .code = Opcode::accept, .operation = op_accept, .descriptor = listener});
    }
    Connection& connect(const SocketAddress& address) {
        Connection& made = add(port_.open_socket(address).value());
        Operation operation = make(made, Opcode::connect, op_connect);
        operation.kernel_address_bytes = address.to_kernel(made.target);
        operation.kernel_address = reinterpret_cast<const sockaddr*>(&made.target);
        submit(made, operation);
        return made;
    }
    void send(Connection& connection, std::string text) {
        connection.output.push_back(std::move(text));
        continue_sending(connection);
    }
    void shut_down(Connection& connection, Opcode code) {
        submit(connection, make(connection, code, op_shutdown));
    }
    void cancel(Connection& connection, TestOperation target) {
        Operation operation = make(connection, Opcode::cancel, op_cancel);
        operation.target = {target, connection.slot, 7};
        submit(connection, operation);
    }
    void arm_receive(Connection& connection) {
        if (!connection.receive_armed) {
            connection.receive_armed = true;
            submit(connection, make(connection, Opcode::receive, op_receive));
        }
    }
    void release_held() {
        for (auto& connection : connections_) {
            connection->held.clear();
        }
    }

    void turn(Duration wait = 1s) {
        buffers_.refill();
        buffers_.rearm_starved([this](Token token) {
            arm_receive(*connections_[token.slot]);
            return true;
        });
        std::vector<Operation> operations = std::move(operations_);
        operations_.clear();
        completions_.clear();
        port_.turn(operations, port_.now() + wait, completions_);
        for (const Completion& completion : completions_) {
            Slice slice = buffers_.settle(completion);
            complete(completion, std::move(slice));
        }
    }
    // False when it did not come to that in a generous number of turns.
    [[nodiscard]] bool run_until(const std::function<bool()>& done, int turns_max = 200'000) {
        for (int count = 0; count < turns_max; ++count) {
            if (done()) {
                return true;
            }
            turn();
        }
        return done();
    }
    void close_all() {
        if (listener_ >= 0 && accept_in_flight_ > 0) {
            Operation operation{};
            operation.code = Opcode::cancel;
            operation.token = {op_cancel, 0xFFFFFF, 7};
            operation.target = {op_accept, 0, 7};
            operations_.push_back(operation);
        }
        closing_ = true;
        for (auto& connection : connections_) {
            connection->receiving = false;
            // What is being sent stays until its completion.
            connection->output.resize(connection->sending ? 1 : 0);
            if (connection->receive_armed) {
                cancel(*connection, op_receive);
            }
            if (connection->sending) {
                cancel(*connection, op_send);
            }
            if (connection->in_flight > 0 && !connection->connected && connection->error == 0) {
                cancel(*connection, op_connect);
            }
        }
        EXPECT_TRUE(run_until([this] {
            for (auto& connection : connections_) {
                if (connection->in_flight > 0) {
                    return false;
                }
            }
            return accept_in_flight_ == 0;
        }));
        for (auto& connection : connections_) {
            connection->held.clear();
            port_.close(connection->descriptor);
        }
        connections_.clear();
        if (listener_ >= 0) {
            port_.close(listener_);
            listener_ = -1;
        }
    }

    [[nodiscard]] std::vector<std::unique_ptr<Connection>>& connections() { return connections_; }
    // Accepted connections, in order of acceptance.
    [[nodiscard]] std::vector<Connection*>& accepted() { return accepted_; }
    [[nodiscard]] ReceiveBuffers& buffers() { return buffers_; }
    [[nodiscard]] std::size_t enobufs_seen() const { return enobufs_seen_; }
    [[nodiscard]] std::vector<Completion>& completions() { return completions_; }

  private:
    struct Plain {
        std::uint32_t slot;
        Opcode code;
        std::uint8_t operation;
        int descriptor;
    };
    static Operation make(const Plain& plain) {
        Operation operation{};
        operation.code = plain.code;
        operation.descriptor = plain.descriptor;
        operation.token = {plain.operation, plain.slot, 7};
        return operation;
    }
    static Operation make(const Connection& connection, Opcode code, TestOperation operation) {
        return make({connection.slot, code, operation, connection.descriptor});
    }
    void queue(const Plain& plain) { operations_.push_back(make(plain)); }
    void submit(Connection& connection, const Operation& operation) {
        ++connection.in_flight;
        operations_.push_back(operation);
    }
    Connection& add(int descriptor) {
        connections_.push_back(std::make_unique<Connection>());
        connections_.back()->slot = static_cast<std::uint32_t>(connections_.size() - 1);
        connections_.back()->descriptor = descriptor;
        return *connections_.back();
    }
    void continue_sending(Connection& connection) {
        if (connection.sending || connection.output.empty() || !connection.connected) {
            return;
        }
        connection.sending = true;
        Operation operation = make(connection, Opcode::send, op_send);
        operation.octets = as_bytes(connection.output.front());
        submit(connection, operation);
    }
    void complete(const Completion& completion, Slice slice) {
        if (completion.token.operation == op_accept) {
            complete_accept(completion);
            return;
        }
        if (completion.token.slot >= connections_.size()) {
            return; // the cancel of accepting
        }
        Connection& connection = *connections_[completion.token.slot];
        if (!completion.more) {
            ASSERT_GT(connection.in_flight, 0U);
            --connection.in_flight;
        }
        switch (static_cast<TestOperation>(completion.token.operation)) {
        case op_receive:
            complete_receive(connection, completion, std::move(slice));
            break;
        case op_send:
            connection.sending = false;
            connection.send_results.push_back(completion.result);
            if (completion.result > 0) {
                connection.sent += static_cast<std::size_t>(completion.result);
            }
            if (!connection.output.empty()) {
                connection.output.pop_front();
            }
            continue_sending(connection);
            break;
        case op_connect:
            connection.connected = completion.result == 0;
            connection.error = -completion.result;
            if (connection.connected && !closing_) {
                arm_receive(connection);
                continue_sending(connection);
            }
            break;
        case op_cancel:
            connection.cancel_results.push_back(completion.result);
            break;
        case op_accept:
        case op_shutdown:
        case op_file:
            break;
        }
    }
    void complete_accept(const Completion& completion) {
        if (!completion.more) {
            --accept_in_flight_;
        }
        if (completion.result >= 0) {
            Connection& connection = add(completion.result);
            connection.connected = true;
            connection.echo = echo_accepted;
            accepted_.push_back(&connection);
            if (receive_accepted && !closing_) {
                arm_receive(connection);
            }
        }
        if (!completion.more && !closing_) {
            accept(listener_);
        }
    }
    void complete_receive(Connection& connection, const Completion& completion, Slice slice) {
        connection.receive_armed = completion.more;
        if (completion.result == -ENOBUFS) {
            ++enobufs_seen_;
            if (connection.receiving) {
                buffers_.starve({op_receive, connection.slot, 7});
            }
            return;
        }
        if (completion.result > 0) {
            EXPECT_EQ(slice.size(), static_cast<std::size_t>(completion.result));
            connection.received += slice.text();
            if (connection.echo) {
                send(connection, std::string(slice.text()));
            }
            if (hold_slices) {
                connection.held.push_back(std::move(slice));
            }
        } else if (completion.result == 0) {
            connection.ended = true;
        } else if (completion.result == -ECANCELED) {
            ++connection.cancelled;
        } else {
            connection.error = -completion.result;
        }
        if (!connection.receive_armed && connection.receiving && completion.result > 0) {
            arm_receive(connection);
        }
    }

    Port& port_;
    BufferPool pool_;
    ReceiveBuffers buffers_;
    int listener_ = -1;
    std::size_t accept_in_flight_ = 0;
    bool closing_ = false;
    std::size_t enobufs_seen_ = 0;
    std::vector<Operation> operations_;
    std::vector<Completion> completions_;
    std::vector<std::unique_ptr<Connection>> connections_;
    std::vector<Connection*> accepted_;
};

} // namespace ringmx::ring
