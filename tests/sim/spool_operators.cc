#include "sim/spool_operators.h"

#include "spool/message_id.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <memory>
#include <utility>
#include <vector>

namespace ringmx::sim {
namespace {

// Older letters are with their recipients, most of them.
constexpr std::size_t recent = 8;

} // namespace

Letter* SpoolOperators::choose(bool may_be_on_hold) {
    std::vector<Letter*> there;
    for (Letter* const letter : ledger_.acknowledged()) {
        if (!letter->may_be_removed && !letter->is_under_command &&
            letter->may_be_on_hold == may_be_on_hold) {
            there.push_back(letter);
        }
    }
    if (there.empty()) {
        return nullptr;
    }
    const std::size_t among = random_.chance(0.7) ? std::min(recent, there.size()) : there.size();
    return there[there.size() - 1 - random_.below(among)];
}

QueueQuestion::Kind SpoolOperators::choose_kind(bool is_on_hold) {
    if (random_.chance(0.25)) {
        return Kind::remove;
    }
    if (random_.chance(is_on_hold ? 0.2 : 0.7)) {
        return Kind::hold;
    }
    return random_.chance(0.5) ? Kind::release : Kind::retry;
}

void SpoolOperators::say_something() {
    const bool is_on_hold = random_.chance(0.3);
    Letter* const letter = choose(is_on_hold);
    if (letter == nullptr) {
        return;
    }
    const Kind kind = choose_kind(is_on_hold);
    ledger_.asked(*letter, kind);
    commands_[++questions_] = {letter, kind, rig_.workers.size()};
    for (const std::unique_ptr<RigWorker>& one : rig_.workers) {
        EXPECT_TRUE(
            one->worker->post({.kind = worker::Inbox::Kind::question,
                               .question = {.number = questions_,
                                            .kind = kind,
                                            .id = spool::read_id(letter->id).value_or(0)}}));
    }
}

void SpoolOperators::take_answers() {
    QueueAnswer answer;
    for (const std::unique_ptr<RigWorker>& one : rig_.workers) {
        while (one->worker->take_answer(answer)) {
            answered(commands_.at(answer.question), answer.result);
        }
    }
}

void SpoolOperators::answered(Command& command, QueueAnswer::Result result) {
    switch (result) {
    case QueueAnswer::Result::done:
        ledger_.done(*command.letter, command.kind);
        tally_.removed += command.kind == Kind::remove ? 1U : 0U;
        tally_.put_on_hold += command.kind == Kind::hold ? 1U : 0U;
        tally_.let_go += command.kind == Kind::release || command.kind == Kind::retry ? 1U : 0U;
        break;
    case QueueAnswer::Result::not_durable: // done or not, by the next start
    case QueueAnswer::Result::unknown:     // another one has it, or it is gone
        break;
    case QueueAnswer::Result::busy:
        ADD_FAILURE() << "busy, with one word at a time: " << command.letter->id;
        break;
    }
    if (--command.answers_left == 0) {
        command.letter->is_under_command = false;
    }
}

void SpoolOperators::let_everything_go() {
    for (const std::unique_ptr<RigWorker>& one : rig_.workers) {
        for (const QueueState state : {QueueState::failed, QueueState::on_hold}) {
            QueueQuestion all{.kind = Kind::list, .limit = UINT32_MAX};
            all.filter.state = state;
            for (const QueueRow& row : ask(*one, all).rows) {
                if (state == QueueState::on_hold) {
                    ledger_.let_go(row.id);
                }
                const QueueAnswer answer = ask(*one, {.kind = Kind::retry, .id = row.id});
                EXPECT_EQ(answer.result, QueueAnswer::Result::done) << spool::id_text(row.id);
            }
        }
    }
}

QueueAnswer SpoolOperators::ask(RigWorker& one, QueueQuestion question) {
    EXPECT_TRUE(
        one.worker->post({.kind = worker::Inbox::Kind::question, .question = std::move(question)}));
    QueueAnswer answer;
    EXPECT_TRUE(rig_.run_until([&] { return one.worker->take_answer(answer); }, 1min));
    return answer;
}

} // namespace ringmx::sim
