// What the simulated kernel does with one operation that may be able to go on.
#include "sim/sim_port.h"

#include "base/assert.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>

namespace ringmx::sim {

using ring::Completion;
using ring::Opcode;
using ring::Operation;

namespace {

// So many segments at most before other operations have their turn, as in the kernel.
constexpr int segments_per_try_max = 4;

std::size_t octets_of(const Operation& operation) {
    if (operation.code == Opcode::send) {
        return operation.octets.size();
    }
    std::size_t total = 0;
    for (std::size_t index = 0; index < operation.message->msg_iovlen; ++index) {
        total += operation.message->msg_iov[index].iov_len;
    }
    return total;
}

void append_range(ByteQueue& queue, const char* octets, std::size_t size, std::size_t& skip,
                  std::size_t& count) {
    if (skip >= size) {
        skip -= size;
        return;
    }
    const std::size_t part = std::min(size - skip, count);
    queue.append({octets + skip, part});
    skip = 0;
    count -= part;
}

// Appends `count` octets of what a send names, from `skip` on.
void append_octets(ByteQueue& queue, const Operation& operation, std::size_t skip,
                   std::size_t count) {
    if (operation.code == Opcode::send) {
        append_range(queue, reinterpret_cast<const char*>(operation.octets.data()),
                     operation.octets.size(), skip, count);
        return;
    }
    for (std::size_t index = 0; index < operation.message->msg_iovlen && count > 0; ++index) {
        const iovec& piece = operation.message->msg_iov[index];
        append_range(queue, static_cast<const char*>(piece.iov_base), piece.iov_len, skip, count);
    }
}
} // namespace

bool SimPort::is_send(Opcode code) { return code == Opcode::send || code == Opcode::send_message; }

void SimPort::try_candidates() {
    std::vector<std::uint64_t> ids(candidates_.begin(), candidates_.end());
    candidates_.clear();
    Random& random = network_.random_;
    for (std::size_t index = ids.size(); index > 1; --index) {
        std::swap(ids[index - 1], ids[random.below(index)]);
    }
    for (const std::uint64_t id : ids) {
        if (!random.chance(network_.options_.late)) {
            try_operation(id);
            continue;
        }
        network_.schedule(network_.delay(), [this, id, port = std::weak_ptr<int>(life_)] {
            if (!port.expired() && operations_.contains(id)) {
                candidates_.insert(id);
            }
        });
    }
}

void SimPort::try_operation(std::uint64_t id) {
    const auto found = operations_.find(id);
    if (found == operations_.end()) {
        return;
    }
    InFlight& flight = found->second;
    const Opcode code = flight.operation.code;
    if (code == Opcode::connect || code == Opcode::cancel) {
        return; // these end by themselves
    }
    Descriptor& descriptor = descriptors_.at(flight.operation.descriptor);
    if (code == Opcode::accept) {
        try_accept(id, descriptor);
        return;
    }
    Endpoint* endpoint = network_.find(descriptor.endpoint);
    if (endpoint == nullptr) {
        end(id, -ENOTCONN); // a listener
        return;
    }
    if (is_send(code)) {
        try_send(id, flight, *endpoint);
    } else if (code == Opcode::receive) {
        try_receive(id, *endpoint);
    } else if (code == Opcode::read) {
        try_read(id, flight, *endpoint);
    } else {
        try_poll(id, flight, *endpoint);
    }
}

void SimPort::try_accept(std::uint64_t id, Descriptor& descriptor) {
    if (descriptor.endpoint != 0) {
        end(id, -EINVAL); // not a listener
        return;
    }
    if (descriptors_.size() >= descriptors_max_) {
        end(id, -EMFILE, true); // whether somebody has connected or not, as the kernel does it
        return;
    }
    while (!descriptor.backlog.empty() && descriptors_.size() < descriptors_max_) {
        Endpoint& endpoint = *network_.find(descriptor.backlog.front());
        descriptor.backlog.pop_front();
        const int accepted = adopt(endpoint).descriptor;
        if (network_.random_.chance(network_.options_.multishot_end)) {
            end(id, accepted, true);
            return;
        }
        Completion completion;
        completion.result = accepted;
        completion.more = true;
        post(id, completion, true);
    }
}

void SimPort::try_receive(std::uint64_t id, Endpoint& endpoint) {
    if (!endpoint.connected) {
        end(id, -ENOTCONN, true);
        return;
    }
    for (int count = 0; !endpoint.inbound.empty(); ++count) {
        if (count == segments_per_try_max) {
            candidates_.insert(id);
            return;
        }
        if (!receive_segment(id, endpoint)) {
            return;
        }
    }
    if (endpoint.error != 0) {
        end(id, -endpoint.error, true);
    } else if (endpoint.input_ended || endpoint.input_shut) {
        end(id, 0, true);
    }
}

bool SimPort::receive_segment(std::uint64_t id, Endpoint& endpoint) {
    Random& random = network_.random_;
    const Options& options = network_.options_;
    if (provided_.empty() || random.chance(options.spurious_enobufs)) {
        end(id, -ENOBUFS, true);
        return false;
    }
    Provided& buffer = provided_.front();
    const std::size_t count =
        std::min({endpoint.inbound.size(), buffer.room.size(), network_.segment_bytes(endpoint)});
    std::memcpy(buffer.room.data(), endpoint.inbound.view().data(), count);
    endpoint.inbound.drop(count);
    buffer.room = buffer.room.subspan(count);
    Completion completion;
    completion.result = static_cast<std::int32_t>(count);
    completion.has_buffer = true;
    completion.buffer_id = buffer.id;
    completion.buffer_more = options.incremental_buffers && !buffer.room.empty();
    completion.more = !random.chance(options.multishot_end);
    if (!completion.buffer_more) {
        provided_.pop_front();
    }
    network_.was_read(endpoint);
    post(id, completion, true);
    return completion.more;
}

void SimPort::try_send(std::uint64_t id, InFlight& flight, Endpoint& endpoint) {
    const std::size_t total = octets_of(flight.operation);
    if (!endpoint.connected || endpoint.write_ended || endpoint.error != 0) {
        const int error = endpoint.error != 0 ? endpoint.error : EPIPE;
        end(id, flight.progress > 0 ? static_cast<std::int32_t>(flight.progress) : -error);
        return;
    }
    const std::size_t buffer = network_.options_.socket_buffer_bytes;
    const std::size_t room = buffer - std::min(buffer, endpoint.outbound.size());
    std::size_t count = std::min(room, total - flight.progress);
    const bool is_cut = count > 0 && network_.random_.chance(network_.options_.short_sends);
    if (is_cut) {
        count = static_cast<std::size_t>(network_.random_.between(1, count));
    }
    append_octets(endpoint.outbound, flight.operation, flight.progress, count);
    flight.progress += count;
    network_.wrote(endpoint);
    if (flight.progress == total || is_cut) {
        end(id, static_cast<std::int32_t>(flight.progress));
    }
}

void SimPort::try_poll(std::uint64_t id, InFlight& flight, Endpoint& endpoint) {
    const bool readable = !endpoint.inbound.empty() || endpoint.input_ended || endpoint.input_shut;
    const bool writable =
        endpoint.connected && endpoint.outbound.size() < network_.options_.socket_buffer_bytes;
    int events = endpoint.error != 0 ? POLLERR | POLLHUP : 0;
    if (flight.operation.code == Opcode::poll_in) {
        events |= readable ? POLLIN : 0;
    } else {
        events |= writable ? POLLOUT : 0;
    }
    if (events != 0) {
        end(id, events);
    }
}

void SimPort::try_read(std::uint64_t id, InFlight& flight, Endpoint& endpoint) {
    if (!endpoint.inbound.empty()) {
        const std::span<std::byte> memory = flight.operation.memory;
        const std::size_t count = std::min(memory.size(), endpoint.inbound.size());
        std::memcpy(memory.data(), endpoint.inbound.view().data(), count);
        endpoint.inbound.drop(count);
        network_.was_read(endpoint);
        end(id, static_cast<std::int32_t>(count));
    } else if (endpoint.error != 0 || endpoint.input_ended || endpoint.input_shut) {
        end(id, -endpoint.error);
    }
}
} // namespace ringmx::sim
