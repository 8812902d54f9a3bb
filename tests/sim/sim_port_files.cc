// Operations on files: they go to the simulated disk, and end after a while, in any order.
#include "sim/sim_disk.h"
#include "sim/sim_port.h"

#include <cerrno>

namespace ringmx::sim {

using ring::Opcode;
using ring::Operation;

bool SimPort::is_file(Opcode code) {
    return code == Opcode::write_file || code == Opcode::read_file;
}

void SimPort::submit_file(std::uint64_t id, const Operation& operation) {
    if (disk_ == nullptr || !disk_->has(operation.descriptor)) {
        end(id, -EBADF);
        return;
    }
    if (operation.code == Opcode::write_file) {
        operations_.at(id).disk_write =
            disk_->begin_write(operation.descriptor, operation.offset, operation.pieces);
    }
    const Duration time = network_.delay() * static_cast<Duration::rep>(disk_->slowness());
    network_.schedule(time, [this, id, port = std::weak_ptr<int>(life_)] {
        if (port.expired()) {
            return;
        }
        disk_->when_it_may_end([this, id, port] {
            if (!port.expired()) {
                end_file(id);
            }
        });
    });
}

void SimPort::end_file(std::uint64_t id) {
    const InFlight& flight = operations_.at(id);
    const Operation& operation = flight.operation;
    if (operation.code == Opcode::write_file) {
        end(id, static_cast<std::int32_t>(disk_->end_write(flight.disk_write)));
    } else if (!disk_->has(operation.descriptor)) {
        end(id, -EBADF);
    } else {
        end(id, static_cast<std::int32_t>(
                    disk_->read(operation.descriptor, operation.offset, operation.pieces)));
    }
}

} // namespace ringmx::sim
