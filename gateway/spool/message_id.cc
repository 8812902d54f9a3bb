#include "spool/message_id.h"

#include "base/assert.h"

namespace ringmx::spool {

namespace {

constexpr std::string_view digits = "BCDFGHJKLMNPQRSTVWXYZbcdfghjklmn";
static_assert(digits.size() == 32);
constexpr unsigned digit_bits = 5;
constexpr unsigned first_digit_bits = 64 - digit_bits * (id_letters - 1);

} // namespace

std::uint64_t packed(const MessageId& id) {
    RINGMX_ASSERT(id.generation >> MessageId::generation_bits == 0);
    RINGMX_ASSERT(id.worker >> MessageId::worker_bits == 0);
    RINGMX_ASSERT(id.counter >> MessageId::counter_bits == 0);
    return (std::uint64_t{id.generation} << MessageId::worker_bits | id.worker)
               << MessageId::counter_bits |
           id.counter;
}

MessageId unpacked_id(std::uint64_t id) {
    constexpr std::uint64_t counters = std::uint64_t{1} << MessageId::counter_bits;
    constexpr std::uint64_t workers = std::uint64_t{1} << MessageId::worker_bits;
    return {static_cast<std::uint32_t>(id / counters / workers),
            static_cast<std::uint32_t>(id / counters % workers), id % counters};
}

std::uint64_t MessageIds::next() {
    const std::uint64_t id = packed(next_);
    if (++next_.counter >> MessageId::counter_bits != 0) {
        next_.counter = 0;
        next_.worker += workers_;
    }
    return id;
}

std::string id_text(std::uint64_t id) {
    std::string text(id_letters, ' ');
    for (std::size_t index = id_letters; index > 0; --index) {
        text[index - 1] = digits[id % digits.size()];
        id /= digits.size();
    }
    return text;
}

std::optional<std::uint64_t> read_id(std::string_view text) {
    if (text.size() != id_letters) {
        return std::nullopt;
    }
    std::uint64_t id = 0;
    for (const char letter : text) {
        const std::size_t digit = digits.find(letter);
        if (digit == std::string_view::npos) {
            return std::nullopt;
        }
        id = id << digit_bits | digit;
    }
    return digits.find(text[0]) >> first_digit_bits == 0 ? std::optional(id) : std::nullopt;
}

} // namespace ringmx::spool
