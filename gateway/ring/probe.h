// What the running kernel's io_uring can do, and why it can't when it can't.
//
// A kernel of at least 6.1 is required (multishot receive, provided buffer rings, SINGLE_ISSUER,
// DEFER_TASKRUN). Newer features are used where they are found. RINGMX_RING_MASK=6.1 in the
// environment makes a newer kernel look like 6.1, for tests.
//
// explain_setup_failure() is a pure function, so that every message can be tested on one machine;
// observe_setup_failure() gathers what it judges.
// Thread: any; reads /proc and the environment, keeps nothing.
// Source: io_uring_setup(2), Documentation/admin-guide/sysctl/kernel.rst (io_uring_disabled),
//         uname(2), getrlimit(2).
#pragma once

#include "base/error.h"

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ringmx::ring {

struct KernelVersion {
    unsigned major = 0;
    unsigned minor = 0;

    auto operator<=>(const KernelVersion&) const = default;
    [[nodiscard]] std::string text() const; // "6.12"
    // The first two numbers of a release such as "6.1.0-28-amd64".
    [[nodiscard]] static std::optional<KernelVersion> parse(std::string_view release);
};

inline constexpr KernelVersion kernel_required{6, 1};
inline constexpr KernelVersion kernel_of_incremental_buffers{6, 12}; // IOU_PBUF_RING_INC

struct Features {
    KernelVersion kernel;             // as the mask shows it
    bool incremental_buffers = false; // worth trying; UringPort finds out whether it is there
};

// `release` as uname gives it, `mask` as RINGMX_RING_MASK gives it (empty: none).
[[nodiscard]] Expected<Features> features_of(std::string_view release, std::string_view mask);
[[nodiscard]] Expected<Features> probe();

// What is known when io_uring_setup or io_uring_register failed.
struct SetupFailure {
    int error = 0;                       // errno, positive
    KernelVersion kernel;                // as it is, unmasked
    std::optional<int> disabled;         // kernel.io_uring_disabled; empty: no such file
    int seccomp_mode = 0;                // of /proc/self/status: 0 none, 2 filtered
    std::uint64_t locked_memory_max = 0; // RLIMIT_MEMLOCK, bytes
};
[[nodiscard]] SetupFailure observe_setup_failure(int error);

// One line that names the cause and the mend.
[[nodiscard]] Error explain_setup_failure(const SetupFailure& failure);

} // namespace ringmx::ring
