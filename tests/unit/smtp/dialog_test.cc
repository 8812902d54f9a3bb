// Runs every scripted dialog of tests/dialog against the session: flight by flight, whole, octet by
// octet, and at every split.
#include "dialog/dialog.h"
#include "unit/smtp/scripted_owner.h"

#include <algorithm>
#include <cctype>
#include <gtest/gtest.h>
#include <ostream>

namespace ringmx::smtp {
namespace {

const std::vector<dialog::Dialog>& dialogs() {
    static const std::vector<dialog::Dialog> all = dialog::read_dialogs(RINGMX_DIALOGS);
    return all;
}

std::vector<std::string> lines_of(const std::string& wire) {
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < wire.size();) {
        const std::size_t end = wire.find("\r\n", at);
        if (end == std::string::npos) {
            lines.push_back(wire.substr(at) + "<no CRLF>");
            break;
        }
        lines.push_back(wire.substr(at, end - at));
        at = end + 2;
    }
    return lines;
}

struct Outcome {
    std::string output;
    std::string trail;
    std::vector<std::string> contents;
    bool is_closed = false;
    bool operator==(const Outcome&) const = default;
};

Outcome outcome_of(const ScriptedOwner& owner) {
    return {owner.output(), owner.trail(), owner.contents(), owner.is_closed()};
}

std::string whole_input(const dialog::Dialog& script) {
    std::string input;
    for (const dialog::Flight& flight : script.flights) {
        input += flight.client;
    }
    return input;
}

Outcome run_segments(const dialog::Dialog& script, bool is_late,
                     const std::vector<std::string_view>& segments) {
    ScriptedOwner owner(script, is_late);
    owner.start();
    for (const std::string_view segment : segments) {
        owner.feed(segment);
    }
    return outcome_of(owner);
}

void PrintTo(const Outcome& outcome, std::ostream* stream) {
    *stream << (outcome.is_closed ? "closed " : "open ") << outcome.trail << " "
            << outcome.contents.size() << " messages\n"
            << outcome.output;
}

class DialogTest : public testing::TestWithParam<std::size_t> {
  protected:
    const dialog::Dialog& script() const { return dialogs()[GetParam()]; }

    Outcome run_flights() {
        ScriptedOwner owner(script(), false);
        owner.start();
        for (const dialog::Flight& flight : script().flights) {
            SCOPED_TRACE(script().name + ", line " + std::to_string(flight.line_number));
            const std::size_t before = owner.output().size();
            const std::size_t messages_before = owner.contents().size();
            owner.feed(flight.client);
            const auto heard = lines_of(owner.output().substr(before));
            EXPECT_EQ(heard.size(), flight.expected.size()) << owner.output().substr(before);
            for (std::size_t index = 0; index < std::min(heard.size(), flight.expected.size());
                 ++index) {
                EXPECT_TRUE(dialog::matches(flight.expected[index], heard[index]))
                    << "expected " << flight.expected[index] << "\n   heard " << heard[index];
            }
            EXPECT_EQ(owner.is_closed(), flight.closes);
            if (flight.has_content) {
                EXPECT_EQ(owner.contents().size(), messages_before + 1);
                EXPECT_EQ(owner.contents().empty() ? "" : owner.contents().back(), flight.content);
            }
        }
        return outcome_of(owner);
    }
};

TEST_P(DialogTest, HoldsFlightByFlight) { run_flights(); }

TEST_P(DialogTest, HoldsForEveryWayOfCuttingTheInput) {
    const Outcome expected = run_flights();
    if (HasFailure()) {
        return;
    }
    const std::string input = whole_input(script());
    const std::string_view view = input;
    for (const bool is_late : {false, true}) {
        SCOPED_TRACE(is_late ? "late answers" : "early answers");
        // Whether DATA is given as an event, and what is parsed behind a closing answer, hangs on
        // when the answers come: with late ones only what the client hears and what is accepted
        // must be the same.
        const auto judged = [is_late](Outcome outcome) {
            if (is_late) {
                outcome.trail.clear();
            }
            return outcome;
        };
        const Outcome expected_now = judged(expected);
        const auto run = [&](const std::vector<std::string_view>& segments) {
            return judged(run_segments(script(), is_late, segments));
        };
        EXPECT_EQ(run({view}), expected_now) << "whole";
        std::vector<std::string_view> octets;
        octets.reserve(view.size());
        for (std::size_t at = 0; at < view.size(); ++at) {
            octets.push_back(view.substr(at, 1));
        }
        EXPECT_EQ(run(octets), expected_now) << "octet by octet";
        for (std::size_t at = 1; at < view.size() && !HasFailure(); ++at) {
            EXPECT_EQ(run({view.substr(0, at), view.substr(at)}), expected_now) << "cut at " << at;
        }
    }
}

std::string name_of(const testing::TestParamInfo<std::size_t>& parameter) {
    std::string name = dialogs()[parameter.param].name;
    std::replace_if(
        name.begin(), name.end(),
        [](char octet) { return std::isalnum(static_cast<unsigned char>(octet)) == 0; }, '_');
    return name;
}

INSTANTIATE_TEST_SUITE_P(All, DialogTest, testing::Range<std::size_t>(0, dialogs().size()),
                         name_of);

} // namespace
} // namespace ringmx::smtp
