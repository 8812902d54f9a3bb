#include "sim/sim_port.h"

#include "base/assert.h"

#include <algorithm>
#include <cerrno>

namespace ringmx::sim {

using ring::Completion;
using ring::Opcode;
using ring::Operation;

SimPort::SimPort(SimNetwork& network) : network_(network) { network_.ports_.push_back(this); }

SimPort::~SimPort() {
    std::erase(network_.ports_, this);
    for (const auto& [number, descriptor] : descriptors_) {
        network_.remove_port_listeners(this, number);
        for (const std::uint64_t waiting : descriptor.backlog) {
            network_.close(*network_.find(waiting), true);
        }
        if (Endpoint* endpoint = network_.find(descriptor.endpoint); endpoint != nullptr) {
            network_.close(*endpoint, true);
        }
    }
}

void SimPort::stop() {
    stopped_ = true;
    until_ = never;
}

bool SimPort::runnable() const {
    return !stopped_ &&
           (!waiting_ || waker_.woken || !candidates_.empty() || until_ <= network_.now() ||
            std::ranges::any_of(
                ended_, [this](const Ended& ended) { return ended.due <= network_.now(); }));
}

WallTime SimPort::wall_time() { return network_.wall_time(); }

int SimPort::lowest_free_descriptor() const {
    int number = 3;
    for (const auto& [used, descriptor] : descriptors_) {
        if (used != number) {
            break;
        }
        ++number;
    }
    return number;
}

int SimPort::listen(const SocketAddress& address) {
    const int number = lowest_free_descriptor();
    descriptors_[number].listening_at = address;
    network_.add_port_listener(this, number, address);
    return number;
}

Endpoint& SimPort::adopt(Endpoint& endpoint) {
    endpoint.port = this;
    endpoint.descriptor = lowest_free_descriptor();
    descriptors_[endpoint.descriptor].endpoint = endpoint.id;
    return endpoint;
}

Expected<int> SimPort::open_socket(const SocketAddress& /*target*/) {
    if (descriptors_.size() >= descriptors_max_) {
        return std::unexpected(Error{"socket", EMFILE, ""});
    }
    return adopt(network_.add_endpoint()).descriptor;
}

Endpoint* SimPort::endpoint_of(int descriptor) {
    const auto found = descriptors_.find(descriptor);
    return found == descriptors_.end() ? nullptr : network_.find(found->second.endpoint);
}

Expected<SocketAddress> SimPort::peer_address(int descriptor) {
    const Endpoint* endpoint = endpoint_of(descriptor);
    if (endpoint == nullptr || !endpoint->connected || endpoint->error != 0) {
        return std::unexpected(
            Error{"getpeername", ENOTCONN, "descriptor " + std::to_string(descriptor)});
    }
    return endpoint->remote;
}

Expected<SocketAddress> SimPort::local_address(int descriptor) {
    if (const Endpoint* endpoint = endpoint_of(descriptor); endpoint != nullptr) {
        return endpoint->local;
    }
    const auto found = descriptors_.find(descriptor);
    if (found == descriptors_.end()) {
        return std::unexpected(
            Error{"getsockname", EBADF, "descriptor " + std::to_string(descriptor)});
    }
    return found->second.listening_at;
}

void SimPort::close(int descriptor, bool reset) {
    const auto found = descriptors_.find(descriptor);
    RINGMX_ASSERT_STATE(found != descriptors_.end(), "close of descriptor %d, which is not open",
                        descriptor);
    RINGMX_ASSERT_STATE(found->second.operations.empty() && found->second.undelivered == 0,
                        "close of descriptor %d with %zu operations in flight", descriptor,
                        found->second.operations.size() + found->second.undelivered);
    const Descriptor closing = std::move(found->second);
    descriptors_.erase(found);
    network_.remove_port_listeners(this, descriptor);
    for (const std::uint64_t waiting : closing.backlog) {
        network_.close(*network_.find(waiting), true);
    }
    if (Endpoint* endpoint = network_.find(closing.endpoint); endpoint != nullptr) {
        network_.close(*endpoint, reset);
    }
}

void SimPort::provide_buffer(std::uint16_t buffer_id, std::span<std::byte> memory) {
    RINGMX_ASSERT_STATE(provided_.size() < provided_buffers_max(), "%zu buffers are provided",
                        provided_.size());
    RINGMX_ASSERT_STATE(
        std::ranges::none_of(provided_, [&](const Provided& p) { return p.id == buffer_id; }),
        "buffer %u is provided already", unsigned{buffer_id});
    RINGMX_ASSERT(!memory.empty());
    provided_.push_back({buffer_id, memory});
}

std::size_t SimPort::provided_buffers_max() const { return network_.options_.provided_buffers_max; }

bool SimPort::incremental_buffers() const { return network_.options_.incremental_buffers; }

Instant SimPort::turn(std::span<const Operation> operations, Instant until,
                      std::vector<Completion>& completions) {
    RINGMX_ASSERT(!stopped_);
    until_ = until;
    waiting_ = true;
    network_.run_due();
    for (const Operation& operation : operations) {
        submit(operation);
    }
    for (;;) {
        network_.run_due();
        try_candidates();
        if (hand_out(completions) || waker_.woken || network_.now() >= until) {
            waiting_ = false;
            waker_.woken = false;
            break;
        }
        if (candidates_.empty() && !network_.advance_for(*this)) {
            break;
        }
    }
    return network_.now();
}

void SimPort::submit(const Operation& operation) {
    if (operation.code == Opcode::cancel) {
        submit_cancel(operation);
        return;
    }
    const std::uint64_t id = ++last_operation_;
    const bool is_new = by_token_.emplace(operation.token.packed(), id).second;
    RINGMX_ASSERT_STATE(is_new, "token %016llx is in flight already",
                        static_cast<unsigned long long>(operation.token.packed()));
    operations_[id].operation = operation;
    if (is_file(operation.code)) {
        submit_file(id, operation);
        return;
    }
    const auto found = descriptors_.find(operation.descriptor);
    if (found == descriptors_.end()) {
        end(id, -EBADF);
        return;
    }
    for (const std::uint64_t other : found->second.operations) {
        RINGMX_ASSERT_STATE(!is_send(operation.code) ||
                                !is_send(operations_.at(other).operation.code),
                            "two sends at a time on descriptor %d", operation.descriptor);
    }
    found->second.operations.insert(id);
    switch (operation.code) {
    case Opcode::connect:
        submit_connect(id, operation);
        break;
    case Opcode::shutdown:
    case Opcode::finish:
        shut_down(operation);
        end(id, endpoint_of(operation.descriptor) != nullptr &&
                        endpoint_of(operation.descriptor)->connected
                    ? 0
                    : -ENOTCONN);
        break;
    case Opcode::send:
    case Opcode::send_message:
        // Its octets may be read long after it was submitted.
        if (network_.random_.chance(network_.options_.late)) {
            candidates_.insert(id);
        } else {
            try_operation(id);
        }
        break;
    case Opcode::accept:
    case Opcode::receive:
    case Opcode::poll_in:
    case Opcode::poll_out:
    case Opcode::read:
        candidates_.insert(id);
        break;
    case Opcode::cancel:
    case Opcode::write_file:
    case Opcode::read_file:
        break;
    }
}

void SimPort::submit_connect(std::uint64_t id, const Operation& operation) {
    const Endpoint* endpoint = endpoint_of(operation.descriptor);
    if (endpoint == nullptr || endpoint->connected) {
        end(id, endpoint == nullptr ? -ENOTSOCK : -EISCONN);
        return;
    }
    network_.start_connect(
        endpoint->id,
        SocketAddress::from_kernel(operation.kernel_address, operation.kernel_address_bytes),
        [this, id](int result) {
            // Only a port's own endpoint calls back, and those go with the port; the operation may
            // have been cancelled.
            if (operations_.contains(id)) {
                end(id, result);
            }
        });
}

void SimPort::submit_cancel(const Operation& operation) {
    const std::uint64_t id = ++last_operation_;
    operations_[id].operation = operation;
    operations_[id].operation.descriptor = -1;
    const auto target = by_token_.find(operation.target.packed());
    if (target == by_token_.end()) {
        end(id, -ENOENT);
        return;
    }
    const std::uint64_t target_id = target->second;
    if (is_file(operations_.at(target_id).operation.code)) {
        end(id, -EALREADY);
    } else if (network_.random_.chance(network_.options_.cancel_busy)) {
        end(id, -EALREADY);
        network_.schedule(network_.delay(), [this, target_id, port = std::weak_ptr<int>(life_)] {
            if (!port.expired()) {
                cut(target_id);
            }
        });
    } else if (network_.random_.chance(0.5)) {
        cut(target_id);
        end(id, 0);
    } else {
        end(id, 0);
        cut(target_id);
    }
}

void SimPort::cut(std::uint64_t id) {
    const auto found = operations_.find(id);
    if (found != operations_.end()) {
        const std::size_t progress = found->second.progress;
        end(id, progress > 0 ? static_cast<std::int32_t>(progress) : -ECANCELED);
    }
}

void SimPort::shut_down(const Operation& operation) {
    Endpoint* endpoint = endpoint_of(operation.descriptor);
    if (endpoint == nullptr || !endpoint->connected) {
        return;
    }
    // A send that was submitted before leaves before, as far as there is room for it.
    const std::set<std::uint64_t> before = descriptors_.at(operation.descriptor).operations;
    for (const std::uint64_t id : before) {
        if (is_send(operations_.at(id).operation.code)) {
            try_operation(id);
        }
    }
    endpoint->write_ended = true;
    endpoint->input_shut = endpoint->input_shut || operation.code == Opcode::shutdown;
    network_.wrote(*endpoint);
    touched(operation.descriptor);
}

void SimPort::touched(int descriptor) {
    const auto found = descriptors_.find(descriptor);
    if (found != descriptors_.end()) {
        candidates_.insert(found->second.operations.begin(), found->second.operations.end());
    }
}

void SimPort::add_to_backlog(int descriptor, std::uint64_t endpoint) {
    descriptors_[descriptor].backlog.push_back(endpoint);
    touched(descriptor);
}

void SimPort::post(std::uint64_t id, Completion completion, bool in_order) {
    const Operation& operation = operations_.at(id).operation;
    completion.token = operation.token;
    Ended ended{.completion = completion, .descriptor = -1, .due = network_.now()};
    if (network_.random_.chance(network_.options_.late)) {
        ended.due += network_.delay();
    }
    // An operation's own completions keep their order, and so do all that share buffers.
    InFlight& flight = operations_.at(id);
    ended.due = std::max({ended.due, flight.last_due, in_order ? in_order_due_ : ended.due});
    flight.last_due = ended.due;
    if (in_order) {
        in_order_due_ = ended.due;
    }
    if (ended.due > network_.now()) {
        network_.schedule(ended.due - network_.now(), [] {}); // time must stop there
    }
    if (!completion.more) {
        ++ended_undelivered_;
        const auto found = descriptors_.find(operation.descriptor);
        if (found != descriptors_.end()) {
            ended.descriptor = operation.descriptor;
            ++found->second.undelivered;
            found->second.operations.erase(id);
        }
        if (operation.code != Opcode::cancel) {
            by_token_.erase(operation.token.packed());
        }
        operations_.erase(id);
    }
    ended_.push_back(ended);
}

void SimPort::end(std::uint64_t id, std::int32_t result, bool in_order) {
    Completion completion;
    completion.result = result;
    post(id, completion, in_order);
}

bool SimPort::hand_out(std::vector<Completion>& completions) {
    const std::size_t before = completions.size();
    std::erase_if(ended_, [&](const Ended& ended) {
        if (ended.due > network_.now()) {
            return false;
        }
        completions.push_back(ended.completion);
        if (!ended.completion.more) {
            --ended_undelivered_;
            if (ended.descriptor >= 0) {
                --descriptors_.at(ended.descriptor).undelivered;
            }
        }
        return true;
    });
    if (completions.size() > before) {
        network_.idle_turns_ = 0;
        return true;
    }
    return false;
}

} // namespace ringmx::sim
