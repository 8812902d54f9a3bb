// The texts of backends' last replies, each kept once however many messages got it.
//
// Bound:  texts_max texts of text_bytes_max octets. Backends may put something new into each reply (a
//         queue id, a time): when that many are in use the caller's fallback is kept instead, for
//         which some places are reserved; when these are used up too, nothing.
// Thread: one.
// Errors: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ringmx {

// What is kept of a reply's text: a beginning of at most ReplyTable::text_bytes_max octets, in whole
// characters.
[[nodiscard]] std::string_view kept_reply(std::string_view text);

class ReplyTable {
  public:
    static constexpr std::size_t texts_max = 4096;
    static constexpr std::size_t fallbacks_reserved = 64; // a code and a phase each
    static constexpr std::size_t lesser_max = texts_max / 2;
    static constexpr std::size_t text_bytes_max = 256;

    // 0: no text.
    [[nodiscard]] std::uint16_t take(std::string_view text, std::string_view fallback);
    // What is less wanted than why something failed: half of the places are not for it.
    [[nodiscard]] std::uint16_t take_lesser(std::string_view text, std::string_view fallback);
    void release(std::uint16_t index); // one take()
    [[nodiscard]] std::string_view text(std::uint16_t index) const;

    [[nodiscard]] std::size_t memory_bytes() const;

  private:
    struct Use {
        std::uint16_t index = 0;
        std::uint32_t takes = 0;
    };
    struct Hash : std::hash<std::string_view> {
        using is_transparent = void;
    };
    using Texts = std::unordered_map<std::string, Use, Hash, std::equal_to<>>;

    [[nodiscard]] std::uint16_t take_within(std::string_view text, std::string_view fallback,
                                            std::size_t room);
    [[nodiscard]] std::uint16_t take_if_room(std::string_view text, std::size_t room);

    Texts texts_;
    std::vector<Texts::pointer> by_index_; // the first is index 1; null: free
    std::vector<std::uint16_t> free_;      // indices
    std::size_t text_bytes_ = 0;
};

} // namespace ringmx
