// A whole worker with a durable queue, and what operators ask it and tell it to do.
//
// Thread: one.
// Errors: failures of the test that calls.
#pragma once

#include "sim/worker_rig.h"

#include "spool/message_id.h"

#include <algorithm>
#include <cstdint>
#include <gtest/gtest.h>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringmx::sim {

class QueueScene : public ::testing::Test {
  protected:
    using Kind = QueueQuestion::Kind;
    using Result = QueueAnswer::Result;
    using Ids = std::vector<std::uint64_t>;

    explicit QueueScene(const RigOptions& made = options()) : rig(made) {}

    static RigOptions options() {
        RigOptions made;
        made.spool = true;
        made.network.seed = 7;
        return made;
    }

    // Its id.
    std::uint64_t send(std::string_view sender, std::string_view recipients,
                       std::string_view content = "a: b\r\n\r\nc\r\n") {
        Client& client = rig.greeted();
        EXPECT_TRUE(
            rig.ask(client, "MAIL FROM:" + std::string(sender) + "\r\n").starts_with("250"));
        while (!recipients.empty()) {
            const std::string_view one = recipients.substr(0, recipients.find(' '));
            recipients.remove_prefix(std::min(one.size() + 1, recipients.size()));
            EXPECT_TRUE(rig.ask(client, "RCPT TO:" + std::string(one) + "\r\n").starts_with("250"));
        }
        EXPECT_TRUE(rig.ask(client, "DATA\r\n").starts_with("354"));
        const std::string reply = rig.ask(client, std::string(content) + ".\r\n");
        EXPECT_TRUE(reply.starts_with("250 2.0.0 Ok: queued as ")) << reply;
        return spool::read_id(reply.substr(24, spool::id_letters)).value_or(0);
    }
    std::uint64_t send_waiting() { return send("<a@far.example>", "<u@two.example>"); }

    QueueAnswer ask(QueueQuestion question, std::size_t worker = 0) {
        question.number = ++number;
        EXPECT_TRUE(rig.workers[worker]->worker->post(
            {.kind = worker::Inbox::Kind::question, .question = std::move(question)}));
        QueueAnswer answer;
        EXPECT_TRUE(
            rig.run_until([&] { return rig.workers[worker]->worker->take_answer(answer); }, 1min));
        EXPECT_EQ(answer.question, number);
        EXPECT_EQ(answer.worker, worker);
        return answer;
    }
    QueueAnswer ask(Kind kind, std::uint64_t id) { return ask({.kind = kind, .id = id}); }
    Result change(Kind kind, std::uint64_t id) { return ask(kind, id).result; }
    QueueRow show(std::uint64_t id) {
        QueueAnswer answer = ask(Kind::show, id);
        EXPECT_EQ(answer.result, Result::done);
        EXPECT_EQ(answer.rows.size(), 1U);
        return answer.rows.empty() ? QueueRow() : answer.rows.front();
    }
    std::vector<std::uint64_t> list(const QueueFilter& filter = {}, std::uint32_t limit = 100) {
        std::vector<std::uint64_t> ids;
        QueueQuestion question{.kind = Kind::list, .filter = filter, .limit = limit};
        while (true) {
            const QueueAnswer answer = ask(question);
            EXPECT_EQ(answer.result, Result::done);
            EXPECT_LE(answer.rows.size(), limit);
            for (const QueueRow& row : answer.rows) {
                ids.push_back(row.id);
            }
            if (answer.is_end) {
                return ids;
            }
            EXPECT_GT(answer.next, question.after);
            question.after = answer.next;
        }
    }
    static void refuse(ScriptedBackend& backend, std::string reply) {
        backend.answer = [reply = std::move(reply)](const std::string& command) {
            return command.starts_with("RCPT") ? std::optional(reply) : std::nullopt;
        };
    }
    ScriptedBackend& refusing(std::string reply) {
        ScriptedBackend& backend = rig.backend(Rig::third_address);
        refuse(backend, std::move(reply));
        return backend;
    }
    static std::size_t taken(const ScriptedBackend& backend) {
        return static_cast<std::size_t>(
            std::ranges::count_if(backend.messages, [](const auto& message) { //
                return message->taken;
            }));
    }

    Rig rig;
    std::uint64_t number = 0; // of the last question
};

} // namespace ringmx::sim
