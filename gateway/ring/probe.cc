#include "ring/probe.h"

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <sys/resource.h>
#include <sys/utsname.h>

namespace ringmx::ring {
namespace {

std::optional<int> read_sysctl(const char* path) {
    std::ifstream file(path);
    int value = 0;
    if (file >> value) {
        return value;
    }
    return std::nullopt;
}

int read_seccomp_mode() {
    std::ifstream file("/proc/self/status");
    std::string key;
    while (file >> key) {
        if (key == "Seccomp:") {
            int mode = 0;
            file >> mode;
            return mode;
        }
        file.ignore(4096, '\n');
    }
    return 0;
}

std::string_view running_release(utsname& names) {
    return ::uname(&names) == 0 ? std::string_view(names.release) : std::string_view();
}

std::string denied_reason(const SetupFailure& failure) {
    constexpr std::string_view seccomp_mend =
        "allow io_uring_setup, io_uring_enter and io_uring_register in the profile (Docker and "
        "Podman: --security-opt "
        "seccomp=PROFILE; their default profiles deny them), or run outside the container";
    const bool filtered = failure.seccomp_mode == 2;
    if (failure.error == EPERM && failure.disabled == 2) {
        return "is switched off on this machine (kernel.io_uring_disabled is 2); run sysctl -w "
               "kernel.io_uring_disabled=0";
    }
    if (failure.error == EPERM && failure.disabled == 1) {
        std::string text =
            "is for one group only on this machine (kernel.io_uring_disabled is 1); add the user "
            "to the "
            "group of kernel.io_uring_group, or run sysctl -w kernel.io_uring_disabled=0";
        if (filtered) {
            text += " (a seccomp filter is in force too and may deny it as well: ";
            text += seccomp_mend;
            text += ')';
        }
        return text;
    }
    if (filtered) {
        return "is denied by a seccomp filter, as in a container; " + std::string(seccomp_mend);
    }
    if (failure.error == ENOSYS) {
        return "is not in this kernel; use one that is built with CONFIG_IO_URING";
    }
    return "is denied by a security module; allow it in the SELinux or AppArmor policy";
}

std::string reason(const SetupFailure& failure) {
    if (failure.kernel < kernel_required) {
        return "needs Linux " + kernel_required.text() + " or newer, this is " +
               failure.kernel.text() + "; upgrade the kernel";
    }
    switch (failure.error) {
    case EPERM:
    case EACCES:
    case ENOSYS:
        return denied_reason(failure);
    case ENOMEM:
        return "got no memory for its rings (RLIMIT_MEMLOCK is " +
               std::to_string(failure.locked_memory_max / 1024) +
               " KiB); raise it with ulimit -l or LimitMEMLOCK=, or use fewer workers";
    case EMFILE:
    case ENFILE:
        return "got no descriptor; raise RLIMIT_NOFILE with ulimit -n or LimitNOFILE=";
    case EINVAL:
        return "of Linux " + failure.kernel.text() +
               " refuses a set-up that Linux 6.1 allows; use a kernel without patches to io_uring";
    default:
        return "could not be set up";
    }
}

} // namespace

std::string KernelVersion::text() const {
    return std::to_string(major) + '.' + std::to_string(minor);
}

std::optional<KernelVersion> KernelVersion::parse(std::string_view release) {
    KernelVersion version;
    const char* const end = release.data() + release.size();
    const auto [dot, major_error] = std::from_chars(release.data(), end, version.major);
    if (major_error != std::errc() || dot == end || *dot != '.') {
        return std::nullopt;
    }
    const auto [rest, minor_error] = std::from_chars(dot + 1, end, version.minor);
    if (minor_error != std::errc()) {
        return std::nullopt;
    }
    return version;
}

Expected<Features> features_of(std::string_view release, std::string_view mask) {
    const std::optional<KernelVersion> running = KernelVersion::parse(release);
    if (!running) {
        return std::unexpected(Error{"read the kernel's version from", 0, std::string(release)});
    }
    if (*running < kernel_required) {
        SetupFailure too_old;
        too_old.error = ENOSYS;
        too_old.kernel = *running;
        return std::unexpected(explain_setup_failure(too_old));
    }
    Features features{.kernel = *running};
    if (!mask.empty()) {
        const std::optional<KernelVersion> shown = KernelVersion::parse(mask);
        if (!shown || *shown < kernel_required) {
            return std::unexpected(Error{"RINGMX_RING_MASK must be a kernel version from " +
                                             kernel_required.text() + " on, not",
                                         0, '\'' + std::string(mask) + '\''});
        }
        features.kernel = std::min(*running, *shown);
    }
    features.incremental_buffers = features.kernel >= kernel_of_incremental_buffers;
    return features;
}

Expected<Features> probe() {
    utsname names{};
    const char* mask = std::getenv("RINGMX_RING_MASK");
    return features_of(running_release(names), mask == nullptr ? "" : mask);
}

SetupFailure observe_setup_failure(int error) {
    SetupFailure failure;
    failure.error = error;
    utsname names{};
    failure.kernel = KernelVersion::parse(running_release(names)).value_or(kernel_required);
    failure.disabled = read_sysctl("/proc/sys/kernel/io_uring_disabled");
    failure.seccomp_mode = read_seccomp_mode();
    rlimit limit{};
    if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
        failure.locked_memory_max = limit.rlim_cur;
    }
    return failure;
}

Error explain_setup_failure(const SetupFailure& failure) {
    return {"io_uring", failure.error, reason(failure)};
}

} // namespace ringmx::ring
