#include "worker/dispatch.h"

#include "smtp/delivery_report.h"

#include <gtest/gtest.h>
#include <string>

namespace ringmx::worker {
namespace {

// Each of a thousand recipients may have it, and nobody counts what it takes.
TEST(Outcome, KeepsOfALongReplyWhatAReportTells) {
    const std::string text(16'000, 'x');
    const Outcome outcome = Outcome::own(Outcome::Kind::deferred, 0, {450, {4, 2, 0}, text});
    EXPECT_EQ(outcome.reply.size(), smtp::diagnostic_bytes_max);
    EXPECT_TRUE(outcome.reply.starts_with("450 4.2.0 xxx"));
}

} // namespace
} // namespace ringmx::worker
