#include "load/generated_text.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "load/random.h"
#include "smtp/dot_stuffing.h"

#include <algorithm>
#include <array>

namespace ringmx::load {
namespace {

constexpr std::array<std::string_view, 64> words{
    "the",    "of",      "a",       "to",       "and",      "in",       "for",      "we",
    "you",    "is",      "that",    "it",       "on",       "with",     "this",     "have",
    "will",   "be",      "are",     "as",       "from",     "at",       "please",   "not",
    "can",    "meeting", "report",  "week",     "order",    "invoice",  "answer",   "question",
    "friday", "project", "team",    "customer", "attached", "regards",  "tomorrow", "thanks",
    "review", "change",  "message", "number",   "version",  "delivery", "contract", "monday",
    "office", "before",  "after",   "about",    "which",    "when",     "would",    "should",
    "their",  "our",     "each",    "between",  "during",   "minutes",  "draft",    "schedule",
};
// A line grows word by word until it has as many octets as were drawn for it; a blank, a word and
// a comma or full stop come on top.
constexpr std::size_t word_bytes_max = 8;
constexpr std::size_t drawn_line_bytes_max = text_line_bytes_max - (1 + word_bytes_max + 1) + 1;
static_assert(std::ranges::max(words, {}, &std::string_view::size).size() == word_bytes_max);
static_assert(drawn_line_bytes_max >= text_line_bytes_min);

class Writer {
  public:
    explicit Writer(std::uint64_t seed) : seed_(seed) {}

    // With its CRLF.
    void append_line(std::string& text) {
        const std::size_t begin = text.size();
        const std::size_t wanted =
            text_line_bytes_min + next() % (drawn_line_bytes_max - text_line_bytes_min + 1);
        const std::uint64_t dots = next() % 256;
        text += dots == 0 ? ".." : dots % 16 == 0 ? "." : "";
        append_word(text);
        while (text.size() - begin < wanted) {
            text += ' ';
            append_word(text);
        }
        text += "\r\n";
    }

  private:
    void append_word(std::string& text) {
        const std::uint64_t random = next();
        const std::string_view word = words[random % words.size()];
        text += starts_sentence_ ? static_cast<char>(word[0] - 'a' + 'A') : word[0];
        text += word.substr(1);
        const std::uint64_t mark = (random >> 32) % 24;
        starts_sentence_ = mark == 0;
        text += mark == 0 ? "." : mark < 3 ? "," : "";
    }
    std::uint64_t next() { return random_number(seed_, index_++); }

    std::uint64_t seed_;
    std::uint64_t index_ = 0;
    bool starts_sentence_ = true;
};

} // namespace

GeneratedText::GeneratedText(std::uint64_t seed) {
    raw_.reserve(text_bytes_min + text_line_bytes_max + 2);
    Writer writer(seed);
    while (raw_.size() < text_bytes_min) {
        const std::size_t begin = raw_.size();
        writer.append_line(raw_);
        if (raw_[begin] == '.') {
            dots_.push_back(static_cast<std::uint32_t>(begin));
        }
    }
    stuffed_.reserve(raw_.size() + dots_.size());
    smtp::Stuffer stuffer;
    stuffer.feed(as_bytes(raw_), [&](Bytes part, bool) { stuffed_ += as_text(part); });
    RINGMX_ASSERT(stuffed_.size() == raw_.size() + dots_.size());
}

std::size_t GeneratedText::pieces_max(std::uint64_t bytes) { return bytes / text_bytes_min + 3; }

// The first line of a body may be the rest of one, but neither half a CRLF, nor may a dot begin it
// that is not stuffed.
bool GeneratedText::can_start_at(std::size_t offset) const {
    const bool is_line_start = offset == 0 || raw_[offset - 1] == '\n';
    return raw_[offset] != '\n' && (raw_[offset] != '.' || is_line_start);
}

std::size_t GeneratedText::line_end_behind(std::size_t offset) const {
    return raw_.find('\n', offset) + 1;
}

void GeneratedText::body(std::uint64_t bytes, std::uint64_t random,
                         std::vector<std::string_view>& raw,
                         std::vector<std::string_view>& stuffed) const {
    RINGMX_ASSERT(bytes >= 2);
    const std::size_t whole = raw_.size();
    if (bytes % whole == 1) { // would begin with the LF that ends every line
        const std::size_t line = line_end_behind(0);
        add(0, line, raw, stuffed);
        bytes -= line;
    }
    const std::size_t rest = bytes % whole; // how far the end lies behind the start
    const bool fits = bytes + window_bytes + text_line_bytes_max + 2 <= whole;
    std::size_t end = (fits ? rest : 0) + random % window_bytes;
    std::size_t start = 0;
    // Few ends have a bad start, and lines differ in length: a good one is always near.
    do {
        end = line_end_behind(end % whole);
        start = (end + whole - rest) % whole;
    } while (!can_start_at(start));
    while (bytes > 0) {
        const std::size_t to = std::min<std::uint64_t>(whole, start + bytes);
        add(start, to, raw, stuffed);
        bytes -= to - start;
        start = 0;
    }
}

void GeneratedText::add(std::size_t from, std::size_t to, std::vector<std::string_view>& raw,
                        std::vector<std::string_view>& stuffed) const {
    const auto dots_before = [&](std::size_t offset) {
        return static_cast<std::size_t>(std::ranges::lower_bound(dots_, offset) - dots_.begin());
    };
    raw.push_back(std::string_view(raw_).substr(from, to - from));
    const std::size_t stuffed_from = from + dots_before(from);
    const std::size_t stuffed_to = to + dots_before(to);
    stuffed.push_back(std::string_view(stuffed_).substr(stuffed_from, stuffed_to - stuffed_from));
}

} // namespace ringmx::load
