#include "ring/probe.h"
#include "ring/uring_port.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

namespace ringmx::ring {
namespace {

SetupFailure failure(int error) {
    SetupFailure made;
    made.error = error;
    made.kernel = {6, 12};
    made.disabled = 0;
    made.locked_memory_max = 8192ULL * 1024;
    return made;
}

std::string explained(const SetupFailure& failure) {
    return explain_setup_failure(failure).message();
}

TEST(KernelVersion, IsReadFromReleasesOfDistributions) {
    EXPECT_EQ(KernelVersion::parse("6.1.0-28-amd64"), (KernelVersion{6, 1}));
    EXPECT_EQ(KernelVersion::parse("6.12"), (KernelVersion{6, 12}));
    EXPECT_EQ(KernelVersion::parse("7.0-rc1"), (KernelVersion{7, 0}));
    EXPECT_EQ(KernelVersion::parse("5.15.0-microsoft-standard-WSL2"), (KernelVersion{5, 15}));
    for (const char* text : {"", "6", "6.", "x.1", ".1"}) {
        EXPECT_FALSE(KernelVersion::parse(text).has_value()) << text;
    }
}

TEST(KernelVersion, TenIsNewerThanTwo) {
    EXPECT_GT((KernelVersion{6, 10}), (KernelVersion{6, 2}));
    EXPECT_GT((KernelVersion{7, 0}), (KernelVersion{6, 12}));
}

TEST(Features, IncrementalBuffersComeWithSixTwelve) {
    EXPECT_FALSE(features_of("6.11.2", "")->incremental_buffers);
    EXPECT_TRUE(features_of("6.12.0", "")->incremental_buffers);
}

TEST(Features, MaskHidesWhatIsNewerAndAddsNothing) {
    EXPECT_FALSE(features_of("6.18.1", "6.1")->incremental_buffers);
    EXPECT_EQ(features_of("6.18.1", "6.1")->kernel, (KernelVersion{6, 1}));
    EXPECT_EQ(features_of("6.5.0", "6.12")->kernel, (KernelVersion{6, 5}));
    EXPECT_FALSE(features_of("6.5.0", "6.12")->incremental_buffers);
}

TEST(Features, MaskThatIsNoUsableVersionIsAnError) {
    EXPECT_FALSE(features_of("6.18.1", "yes").has_value());
    EXPECT_FALSE(features_of("6.18.1", "5.10").has_value());
}

TEST(Features, OldKernelIsNamedWithTheOneNeeded) {
    const Expected<Features> features = features_of("5.15.0-91-generic", "");
    ASSERT_FALSE(features.has_value());
    EXPECT_NE(features.error().message().find("needs Linux 6.1 or newer, this is 5.15"),
              std::string::npos)
        << features.error().message();
}

TEST(SetupFailure, SysctlTwoIsNamedWithItsMend) {
    SetupFailure off = failure(EPERM);
    off.disabled = 2;
    off.seccomp_mode = 2; // would do it too, but the sysctl is certain
    EXPECT_NE(explained(off).find("kernel.io_uring_disabled is 2"), std::string::npos);
    EXPECT_NE(explained(off).find("sysctl -w kernel.io_uring_disabled=0"), std::string::npos);
}

TEST(SetupFailure, SysctlOneNamesTheGroup) {
    SetupFailure grouped = failure(EPERM);
    grouped.disabled = 1;
    EXPECT_NE(explained(grouped).find("kernel.io_uring_group"), std::string::npos);
    EXPECT_EQ(explained(grouped).find("seccomp"), std::string::npos);
    grouped.seccomp_mode = 2;
    EXPECT_NE(explained(grouped).find("seccomp"), std::string::npos);
}

TEST(SetupFailure, FilterIsNamedWhenTheSysctlAllows) {
    for (const int error : {EPERM, ENOSYS, EACCES}) {
        SetupFailure filtered = failure(error);
        filtered.seccomp_mode = 2;
        EXPECT_NE(explained(filtered).find("seccomp filter"), std::string::npos);
        filtered.disabled.reset(); // before 6.6 there is no such sysctl
        EXPECT_NE(explained(filtered).find("seccomp filter"), std::string::npos);
    }
}

TEST(SetupFailure, WithoutFilterItIsTheKernelOrASecurityModule) {
    EXPECT_NE(explained(failure(ENOSYS)).find("CONFIG_IO_URING"), std::string::npos);
    EXPECT_NE(explained(failure(EPERM)).find("security module"), std::string::npos);
}

TEST(SetupFailure, MemoryAndDescriptorsNameTheirLimits) {
    EXPECT_NE(explained(failure(ENOMEM)).find("RLIMIT_MEMLOCK is 8192 KiB"), std::string::npos);
    EXPECT_NE(explained(failure(EMFILE)).find("RLIMIT_NOFILE"), std::string::npos);
}

TEST(SetupFailure, OldKernelIsTheReasonWhateverTheError) {
    SetupFailure old = failure(EINVAL);
    old.kernel = {5, 19};
    EXPECT_NE(explained(old).find("this is 5.19"), std::string::npos);
}

TEST(SetupFailure, EveryMessageIsOneLine) {
    for (int error = 1; error < 130; ++error) {
        EXPECT_EQ(explained(failure(error)).find('\n'), std::string::npos);
    }
}

// Denies io_uring_setup with EPERM to this process, as containers do.
bool deny_ring_setup() {
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{.len = std::size(program), .filter = program};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST(SetupFailureDeathTest, ProcessUnderAFilterIsToldSo) {
    const std::optional<int> disabled = observe_setup_failure(EPERM).disabled;
    if (disabled.value_or(0) != 0) {
        GTEST_SKIP() << "kernel.io_uring_disabled is set here";
    }
    EXPECT_EXIT(
        {
            if (!deny_ring_setup()) {
                std::_Exit(3);
            }
            UringPort::Settings settings;
            const Expected<std::unique_ptr<UringPort>> port = UringPort::create(settings);
            std::fputs(port ? "created" : port.error().message().c_str(), stderr);
            std::_Exit(port ? 2 : 0);
        },
        testing::ExitedWithCode(0), "io_uring is denied by a seccomp filter");
}

} // namespace
} // namespace ringmx::ring
