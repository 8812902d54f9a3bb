// What it costs others that an operator looks through a long queue: few records are read at a time, few
// entries are looked at in a turn, and clients have their replies meanwhile.
#include "sim/queue_scene.h"

#include <algorithm>

namespace ringmx::sim {
namespace {

class QueuePace : public QueueScene {
  protected:
    static constexpr std::uint32_t waiting = 1000;

    // Nothing of it is due while the test looks, and no backend is tried whether it is there again.
    void fill_queue() {
        (void)refusing("450 4.2.0 later\r\n");
        rig.reload([](Settings& settings) { settings.spool.retry.initial = 4h; });
        for (std::uint32_t count = 0; count < waiting; ++count) {
            (void)send_waiting();
        }
        rig.run_for(1min);
    }
    void post_list(const QueueFilter& filter) {
        EXPECT_TRUE(rig.worker->post(
            {.kind = worker::Inbox::Kind::question,
             .question = {.number = ++number, .kind = Kind::list, .filter = filter, .limit = 10}}));
    }
    bool is_answered() { return rig.worker->take_answer(answer); }

    QueueAnswer answer;
};

TEST_F(QueuePace, AFilteredListReadsFewRecordsAtATimeAndClientsAreAnswered) {
    fill_queue();
    Client& client = rig.greeted();
    constexpr std::uint64_t at_once = worker::QueueAnswers::reads_at_once;
    std::uint64_t most = 0;
    std::uint64_t all = 0;
    rig.disk.stall();
    post_list({.sender = "x@far.example"}); // which only the records know
    while (!is_answered()) {
        EXPECT_EQ(rig.ask(client, "NOOP\r\n"), "250 2.0.0 Ok\r\n");
        rig.run_for(100ms);
        const std::uint64_t before = rig.disk.reads;
        rig.disk.resume(); // all that is under way ends
        rig.disk.stall();
        most = std::max(most, rig.disk.reads - before);
        all += rig.disk.reads - before;
        ASSERT_LE(most, at_once);
        ASSERT_LE(all, waiting) << "each is read once";
    }
    EXPECT_EQ(most, at_once);
    EXPECT_EQ(all, waiting);
    EXPECT_TRUE(answer.rows.empty());
    rig.disk.resume();
    rig.finish();
}

TEST_F(QueuePace, MailIsTakenWhileAFilteredListReads) {
    fill_queue();
    int accepted = 0;
    post_list({.sender = "x@far.example"});
    while (!is_answered()) {
        (void)send_waiting();
        ++accepted;
    }
    EXPECT_GT(accepted, 3);
    rig.finish();
}

// By what the index knows nothing belongs to it.
TEST_F(QueuePace, AListLooksAtFewEntriesInATurnAndReadsWhatMayBelong) {
    fill_queue();
    const std::uint64_t reads = rig.disk.reads;
    post_list({.state = QueueState::failed});
    std::uint32_t turns = 0;
    while (!is_answered()) {
        rig.turn();
        ASSERT_LT(++turns, waiting);
    }
    EXPECT_GE(turns, waiting / worker::QueueAnswers::looks_per_turn);
    EXPECT_EQ(rig.disk.reads, reads);
    rig.finish();
}

} // namespace
} // namespace ringmx::sim
