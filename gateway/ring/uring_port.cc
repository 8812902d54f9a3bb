#include "ring/uring_port.h"

#include "base/assert.h"
#include "ring/sockets.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <ctime>
#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace ringmx::ring {
namespace {

constexpr Token wake_token{255, 0xFFFFFF, 0xFFFFFFFF};
constexpr std::uint16_t buffer_group = 0;
// Against a kernel that takes no submission for want of memory: enough for any passing lack, an end
// for a lasting one.
constexpr int submit_attempts_max = 1000;

constexpr std::array<std::uint8_t, 10> operations_allowed = {
    IORING_OP_ACCEPT,  IORING_OP_RECV,         IORING_OP_SEND, IORING_OP_SENDMSG,
    IORING_OP_CONNECT, IORING_OP_ASYNC_CANCEL, IORING_OP_READ, IORING_OP_POLL_ADD,
    IORING_OP_WRITEV,  IORING_OP_READV};
constexpr std::array<std::uint8_t, 2> registrations_allowed = {
    IORING_REGISTER_ENABLE_RINGS, // the ring itself
    IORING_REGISTER_SYNC_CANCEL,  // the destructor
};

std::int64_t read_clock(clockid_t clock) {
    timespec time{};
    ::clock_gettime(clock, &time);
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

// Coalesces wakes: only the first since the ring last read the eventfd writes to it.
class EventWaker final : public Waker {
  public:
    ~EventWaker() override {
        if (descriptor >= 0) {
            ::close(descriptor);
        }
    }
    void wake() override {
        if (!pending.exchange(true, std::memory_order_acq_rel)) {
            const std::uint64_t one = 1;
            [[maybe_unused]] const ssize_t written = ::write(descriptor, &one, sizeof one);
        }
    }

    int descriptor = -1;
    std::atomic<bool> pending = false;
};

} // namespace

struct UringPort::State {
    ~State();
    [[nodiscard]] int set_up(const Settings& settings);
    [[nodiscard]] int restrict_ring();
    [[nodiscard]] int add_buffer_ring(const Settings& settings);

    io_uring_sqe* next_submission(std::vector<Completion>& completions);
    void prepare(const Operation& operation, std::vector<Completion>& completions);
    void await_wakes(std::vector<Completion>& completions);
    void submit_and_wait(Instant until);
    void take_completions(std::vector<Completion>& completions);
    void shut_down(std::vector<Completion>& completions);

    io_uring ring{};
    bool has_ring = false;
    bool enabled = false;
    io_uring_buf_ring* buffers = nullptr;
    std::size_t buffers_bytes = 0;
    unsigned buffers_count = 0;
    bool incremental = false;
    EventWaker waker;
    std::uint64_t wakes_read = 0; // the ring reads the eventfd into this
    bool wakes_awaited = false;
    std::vector<Operation> shutdowns; // of this turn
};

UringPort::State::~State() {
    if (has_ring) {
        if (enabled) {
            // What is in flight names memory of the caller. On a thread that isn't the ring's this
            // fails, and is not needed either: the kernel cancels what a thread has in flight when
            // the thread ends.
            io_uring_sync_cancel_reg all{};
            all.flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
            all.timeout.tv_sec = -1;
            all.timeout.tv_nsec = -1;
            io_uring_register_sync_cancel(&ring, &all);
        }
        io_uring_queue_exit(&ring);
    }
    if (buffers != nullptr) {
        ::munmap(buffers, buffers_bytes);
    }
}

int UringPort::State::set_up(const Settings& settings) {
    waker.descriptor = ::eventfd(0, EFD_CLOEXEC);
    if (waker.descriptor < 0) {
        return errno;
    }
    io_uring_params parameters{};
    parameters.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER |
                       IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE;
    parameters.cq_entries = settings.completions;
    if (const int result = io_uring_queue_init_params(settings.submissions, &ring, &parameters);
        result < 0) {
        return -result;
    }
    has_ring = true;
    constexpr unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_FAST_POLL;
    if ((parameters.features & needed) != needed) {
        return EINVAL;
    }
    if (const int error = restrict_ring(); error != 0) {
        return error;
    }
    return add_buffer_ring(settings);
}

int UringPort::State::restrict_ring() {
    std::array<io_uring_restriction, operations_allowed.size() + registrations_allowed.size() + 1>
        rules{};
    std::size_t count = 0;
    for (const std::uint8_t operation : operations_allowed) {
        rules[count].opcode = IORING_RESTRICTION_SQE_OP;
        rules[count++].sqe_op = operation;
    }
    for (const std::uint8_t registration : registrations_allowed) {
        rules[count].opcode = IORING_RESTRICTION_REGISTER_OP;
        rules[count++].register_op = registration;
    }
    rules[count].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
    rules[count++].sqe_flags = IOSQE_BUFFER_SELECT;
    return -io_uring_register_restrictions(&ring, rules.data(), static_cast<unsigned>(count));
}

// The kernel drops its hold on the ring's memory with the ring, so that nothing needs to be
// unregistered.
int UringPort::State::add_buffer_ring(const Settings& settings) {
    buffers_count = settings.provided_buffers;
    buffers_bytes = buffers_count * sizeof(io_uring_buf);
    void* memory =
        ::mmap(nullptr, buffers_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return errno;
    }
    buffers = static_cast<io_uring_buf_ring*>(memory);
    io_uring_buf_ring_init(buffers);
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<std::uint64_t>(memory);
    registration.ring_entries = buffers_count;
    registration.bgid = buffer_group;
    if (settings.features.incremental_buffers) {
        registration.flags = IOU_PBUF_RING_INC;
        const int result = io_uring_register_buf_ring(&ring, &registration, 0);
        incremental = result == 0;
        if (result != -EINVAL) {
            return -result;
        }
        registration.flags = 0;
    }
    return -io_uring_register_buf_ring(&ring, &registration, 0);
}

Expected<std::unique_ptr<UringPort>> UringPort::create(const Settings& settings) {
    auto state = std::make_unique<State>();
    if (const int error = state->set_up(settings); error != 0) {
        return std::unexpected(explain_setup_failure(observe_setup_failure(error)));
    }
    return std::unique_ptr<UringPort>(new UringPort(std::move(state)));
}

UringPort::UringPort(std::unique_ptr<State> state) : state_(std::move(state)) {}

UringPort::~UringPort() = default;

void UringPort::enable() {
    if (!state_->enabled) {
        const int result = io_uring_enable_rings(&state_->ring);
        RINGMX_ASSERT_STATE(result == 0, "io_uring_enable_rings: %d", result);
        state_->enabled = true;
    }
}

Instant UringPort::turn(std::span<const Operation> operations, Instant until,
                        std::vector<Completion>& completions) {
    enable();
    State& state = *state_;
    const std::size_t before = completions.size();
    state.await_wakes(completions);
    for (const Operation& operation : operations) {
        state.prepare(operation, completions);
    }
    if (!state.shutdowns.empty() || completions.size() > before) {
        // What is sent before a shutdown is submitted before it. There is a completion already: no
        // waiting.
        io_uring_submit_and_get_events(&state.ring);
        state.shut_down(completions);
    } else {
        state.submit_and_wait(until);
    }
    state.take_completions(completions);
    return now();
}

io_uring_sqe* UringPort::State::next_submission(std::vector<Completion>& completions) {
    for (int attempt = 0; attempt < submit_attempts_max; ++attempt) {
        if (io_uring_sqe* entry = io_uring_get_sqe(&ring); entry != nullptr) {
            return entry;
        }
        if (io_uring_submit(&ring) <= 0) {
            take_completions(completions); // room for the kernel, if that is what it wants
        }
    }
    RINGMX_ASSERT_STATE(false, "%u submissions are not taken", io_uring_sq_ready(&ring));
    return nullptr;
}

void UringPort::State::prepare(const Operation& operation, std::vector<Completion>& completions) {
    RINGMX_ASSERT(operation.token != wake_token);
    if (operation.code == Opcode::shutdown || operation.code == Opcode::finish) {
        shutdowns.push_back(operation);
        return;
    }
    io_uring_sqe* entry = next_submission(completions);
    const int descriptor = operation.descriptor;
    switch (operation.code) {
    case Opcode::accept:
        io_uring_prep_multishot_accept(entry, descriptor, nullptr, nullptr, SOCK_CLOEXEC);
        break;
    case Opcode::receive:
        io_uring_prep_recv_multishot(entry, descriptor, nullptr, 0, 0);
        entry->flags |= IOSQE_BUFFER_SELECT;
        entry->buf_group = buffer_group;
        break;
    case Opcode::send:
        io_uring_prep_send(entry, descriptor, operation.octets.data(), operation.octets.size(),
                           MSG_WAITALL | MSG_NOSIGNAL);
        break;
    case Opcode::send_message:
        io_uring_prep_sendmsg(entry, descriptor, operation.message, MSG_WAITALL | MSG_NOSIGNAL);
        break;
    case Opcode::connect:
        io_uring_prep_connect(entry, descriptor, operation.kernel_address,
                              operation.kernel_address_bytes);
        break;
    case Opcode::cancel:
        io_uring_prep_cancel64(entry, operation.target.packed(), 0);
        break;
    case Opcode::poll_in:
        io_uring_prep_poll_add(entry, descriptor, POLLIN);
        break;
    case Opcode::poll_out:
        io_uring_prep_poll_add(entry, descriptor, POLLOUT);
        break;
    case Opcode::read:
        io_uring_prep_read(entry, descriptor, operation.memory.data(),
                           static_cast<unsigned>(operation.memory.size()), ~0ULL);
        break;
    case Opcode::write_file:
        io_uring_prep_writev(entry, descriptor, operation.pieces.data(),
                             static_cast<unsigned>(operation.pieces.size()), operation.offset);
        break;
    case Opcode::read_file:
        io_uring_prep_readv(entry, descriptor, operation.pieces.data(),
                            static_cast<unsigned>(operation.pieces.size()), operation.offset);
        break;
    case Opcode::shutdown:
    case Opcode::finish:
        break;
    }
    io_uring_sqe_set_data64(entry, operation.token.packed());
}

void UringPort::State::await_wakes(std::vector<Completion>& completions) {
    if (wakes_awaited) {
        return;
    }
    io_uring_sqe* entry = next_submission(completions);
    io_uring_prep_read(entry, waker.descriptor, &wakes_read, sizeof wakes_read, ~0ULL);
    io_uring_sqe_set_data64(entry, wake_token.packed());
    wakes_awaited = true;
}

void UringPort::State::submit_and_wait(Instant until) {
    if (io_uring_cq_ready(&ring) > 0) {
        // Batches before this one (more operations than the queue has room for) have completions
        // already. Waiting would return at once and leave deferred work undone: what only that work
        // completes would never end.
        io_uring_submit_and_get_events(&ring);
        return;
    }
    __kernel_timespec timeout{};
    __kernel_timespec* timeout_given = nullptr;
    if (until != never) {
        const std::int64_t left = until.time_since_epoch().count() - read_clock(CLOCK_MONOTONIC);
        if (left <= 0) {
            // A timeout of zero would still set a timer and sleep: 14.7 µs.
            io_uring_submit_and_get_events(&ring);
            return;
        }
        timeout.tv_sec = left / 1'000'000'000;
        timeout.tv_nsec = left % 1'000'000'000;
        timeout_given = &timeout;
    }
    io_uring_cqe* first = nullptr;
    const int result = io_uring_submit_and_wait_timeout(&ring, &first, 1, timeout_given, nullptr);
    // EAGAIN and EBUSY: the kernel is short of memory or of completion room; the rest leaves with
    // the next turn.
    RINGMX_ASSERT_STATE(result >= 0 || result == -ETIME || result == -EINTR || result == -EAGAIN ||
                            result == -EBUSY,
                        "io_uring_enter: %d", result);
}

void UringPort::State::take_completions(std::vector<Completion>& completions) {
    unsigned head = 0;
    unsigned count = 0;
    const io_uring_cqe* entry = nullptr;
    io_uring_for_each_cqe(&ring, head, entry) {
        ++count;
        if (entry->user_data == wake_token.packed()) {
            wakes_awaited = false;
            // Whatever a waker wrote before its wake is seen by who comes after this.
            waker.pending.exchange(false, std::memory_order_acq_rel);
            continue;
        }
        completions.push_back({
            .token = Token::unpacked(entry->user_data),
            .result = entry->res,
            .more = (entry->flags & IORING_CQE_F_MORE) != 0,
            .has_buffer = (entry->flags & IORING_CQE_F_BUFFER) != 0,
            .buffer_more = (entry->flags & IORING_CQE_F_BUF_MORE) != 0,
            .buffer_id = static_cast<std::uint16_t>(entry->flags >> IORING_CQE_BUFFER_SHIFT),
        });
    }
    io_uring_cq_advance(&ring, count);
}

void UringPort::State::shut_down(std::vector<Completion>& completions) {
    for (const Operation& operation : shutdowns) {
        const int direction = operation.code == Opcode::finish ? SHUT_WR : SHUT_RDWR;
        const int result = ::shutdown(operation.descriptor, direction) == 0 ? 0 : -errno;
        completions.push_back({.token = operation.token, .result = result});
    }
    shutdowns.clear();
}

void UringPort::provide_buffer(std::uint16_t buffer_id, std::span<std::byte> memory) {
    State& state = *state_;
    io_uring_buf_ring_add(state.buffers, memory.data(), static_cast<unsigned>(memory.size()),
                          buffer_id, io_uring_buf_ring_mask(state.buffers_count), 0);
    io_uring_buf_ring_advance(state.buffers, 1);
}

std::size_t UringPort::provided_buffers_max() const { return state_->buffers_count; }

bool UringPort::incremental_buffers() const { return state_->incremental; }

Expected<int> UringPort::open_socket(const SocketAddress& target) {
    return ring::open_socket(target);
}

Expected<SocketAddress> UringPort::peer_address(int descriptor) {
    return ring::peer_address(descriptor);
}

Expected<SocketAddress> UringPort::local_address(int descriptor) {
    return ring::local_address(descriptor);
}

void UringPort::close(int descriptor, bool reset) { close_socket(descriptor, reset); }

Instant UringPort::now() { return Instant(Duration(read_clock(CLOCK_MONOTONIC))); }

WallTime UringPort::wall_time() { return WallTime(Duration(read_clock(CLOCK_REALTIME))); }

Waker& UringPort::waker() { return state_->waker; }

} // namespace ringmx::ring
