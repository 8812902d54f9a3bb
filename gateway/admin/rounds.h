// Questions that are open: each is asked of several workers, and over when each has answered.
//
//   begin() ─▶ the desk posts it ··· take(answer) from each ─▶ the last one gives the round back
//
// Bound:   rounds_max at a time, until every worker has answered, whether or not somebody still
//          waits for it.
// Thread:  main's.
// Errors:  none.
#pragma once

#include "admin/ticket.h"
#include "base/assert.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace ringmx::admin {

// `Question` has a number, which is given here; `Answer` says it again, and whose it is.
template <typename Question, typename Answer> class Rounds {
  public:
    static constexpr std::size_t rounds_max = 8;
    static constexpr std::string_view too_many = "too many questions at a time, ask again";

    struct Round {
        Question question;
        Ticket ticket;
        std::vector<std::uint64_t> after = {}; // of a list, by worker
        std::vector<Answer> answers = {};      // by worker
        std::uint32_t missing = 0;
        bool is_partial = false; // when it was asked there was more that nobody could know of
    };

    [[nodiscard]] bool is_full() const { return open_.size() == rounds_max; }
    [[nodiscard]] std::size_t count() const { return open_.size(); }
    // Of the `workers` there are, `asked` are to answer. What is given is valid until the next call.
    const Round& begin(Round round, std::uint32_t workers, std::uint32_t asked) {
        RINGMX_ASSERT(!is_full() && asked > 0);
        round.question.number = ++last_number_;
        round.answers.resize(workers);
        round.missing = asked;
        return open_.emplace_back(std::move(round));
    }
    // The round, when that was its last answer.
    [[nodiscard]] std::optional<Round> take(Answer answer) {
        const auto found = std::ranges::find(
            open_, answer.question, [](const Round& round) { return round.question.number; });
        RINGMX_ASSERT(found != open_.end() && found->missing > 0);
        const std::uint32_t worker = answer.worker;
        found->answers[worker] = std::move(answer);
        if (--found->missing > 0) {
            return std::nullopt;
        }
        Round over = std::move(*found);
        open_.erase(found);
        return over;
    }

  private:
    std::vector<Round> open_;
    std::uint64_t last_number_ = 0;
};

} // namespace ringmx::admin
