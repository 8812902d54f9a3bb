#include "spool_layout.h"

#include "unit/main/spool_folder.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <thread>

namespace ringmx {
namespace {

// This thread's file systems have no renameat2 with flags from now on. False: that can't be had here.
bool forbid_rename_flags() {
    constexpr std::uint32_t flags_at = offsetof(seccomp_data, args) + 4 * sizeof(std::uint64_t);
    std::array<sock_filter, 6> rules = {{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, flags_at),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    sock_fprog program{rules.size(), rules.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// Without descriptors one can't see, which is not the same as that there is nothing.
TEST(SpoolLayout, WhatEarlierRunsTakeIsNotNothingWhenItCannotBeSeen) {
    const SpoolFolder folder;
    folder.put("00000001/note", "this one");
    folder.put("00000002/other", "and that");
    folder.put("00000003/own", "not this");
    const OwnedDescriptor directory(::open(folder.path.c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(bytes_of_runs_before(3, directory.number()).value_or(0), 16U);
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    const rlimit none{.rlim_cur = 0, .rlim_max = limit.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    const auto unseen = bytes_of_runs_before(3, directory.number());
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    ASSERT_FALSE(unseen.has_value());
    EXPECT_EQ(unseen.error().code, EMFILE);
}

// As NFS answers.
TEST(SpoolLayout, WhatIsSetAsideNeedsNoRenameThatSparesWhatIsThere) {
    const SpoolFolder folder;
    folder.put("00000001/note", "this one");
    folder.put("00000001/other", "that one");
    folder.put("aside/00000001-note", "an earlier one");
    const OwnedDescriptor directory(::open(folder.path.c_str(), O_RDONLY | O_CLOEXEC));
    bool is_forbidden = false;
    std::thread([&] {
        is_forbidden = forbid_rename_flags();
        if (!is_forbidden) {
            return;
        }
        for (const char* const name : {"note", "other"}) {
            const auto moved = set_aside(directory.number(), folder.path, 1, name);
            EXPECT_TRUE(moved.has_value()) << moved.error().message();
        }
    }).join();
    if (!is_forbidden) {
        GTEST_SKIP() << "no system call can be taken away here";
    }
    EXPECT_EQ(folder.all(),
              (std::vector<std::string>{"00000001", "aside/00000001-note", "aside/00000001-note-2",
                                        "aside/00000001-other"}));
    EXPECT_EQ(std::filesystem::file_size(folder.path + "/aside/00000001-note"), 14U);
}

} // namespace
} // namespace ringmx
