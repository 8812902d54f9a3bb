#include "config/fault.h"

#include "base/escape.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace ringmx::config {

namespace {

// JSON's escapes, which are RFC 6901's too where a pointer is written as text; cut at a character's
// start.
std::string escape(std::string_view text) {
    std::size_t kept_bytes = std::min(text.size(), echo_bytes_max);
    const bool is_cut = kept_bytes < text.size();
    const auto is_continuation = [](char c) {
        return (static_cast<unsigned char>(c) & 0xc0U) == 0x80U;
    };
    while (is_cut && kept_bytes > 0 && is_continuation(text[kept_bytes])) {
        --kept_bytes;
    }
    std::string out;
    append_json_text(out, text.substr(0, kept_bytes));
    return is_cut ? out + "..." : out;
}

// Optimal string alignment: insertions, deletions, replacements and swaps of neighbours cost 1
// each.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> before_last(b.size() + 1);
    std::vector<std::size_t> last(b.size() + 1);
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(last.begin(), last.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            row[j] = std::min({replaced, last[j] + 1, row[j - 1] + 1});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = std::min(row[j], before_last[j - 2] + 1);
            }
        }
        before_last = std::exchange(last, row);
    }
    return last[b.size()];
}

std::string lowered(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
        c = c == '-' ? '_' : c; // "message-size" is a habit from other programs
    }
    return out;
}

// "proxy" is "proxy_protocol", "size" is "message_size"; but two letters are an end of much.
std::string_view contained(std::string_view written, const std::vector<std::string_view>& known) {
    constexpr std::size_t part_bytes_min = 3;
    const auto has_end = [](std::string_view whole, std::string_view part) {
        return part.size() >= part_bytes_min && (whole.starts_with(part) || whole.ends_with(part));
    };
    const auto apart = [&](std::string_view word) {
        return std::max(word.size(), written.size()) - std::min(word.size(), written.size());
    };
    std::string_view best;
    for (const std::string_view candidate : known) {
        if ((has_end(candidate, written) || has_end(written, candidate)) &&
            (best.empty() || apart(candidate) < apart(best))) {
            best = candidate;
        }
    }
    return best;
}

} // namespace

void Faults::add(std::string pointer, std::string text) {
    if (list_.size() < faults_kept_max) {
        list_.push_back(Fault{.pointer = std::move(pointer), .text = std::move(text)});
    } else {
        ++dropped_count_;
    }
}

std::vector<Fault> Faults::take() && {
    if (dropped_count_ > 0) {
        list_.push_back(Fault{.pointer = "", .text = fmt::format("{} more", dropped_count_)});
    }
    return std::move(list_);
}

std::string report(std::string_view file, const std::vector<Fault>& faults,
                   std::string_view outcome, std::string_view program) {
    if (faults.size() == 1 && faults.front().pointer.empty()) {
        return fmt::format("{}: {}: {}\n", program, escape(file), faults.front().text);
    }
    std::string out = fmt::format("{}: {} fault{}, {}\n", escape(file), faults.size(),
                                  faults.size() == 1 ? "" : "s", outcome);
    for (const Fault& fault : faults) {
        out += fault.pointer.empty() ? fmt::format("  {}\n", fault.text)
                                     : fmt::format("  {}: {}\n", fault.pointer, fault.text);
    }
    return out;
}

std::string echoed(std::string_view text) { return '"' + escape(text) + '"'; }

std::string pointer_to(std::string_view parent, std::string_view key) {
    std::string out(parent);
    out += '/';
    for (const char c : escape(key)) {
        if (c == '~') {
            out += "~0";
        } else if (c == '/') {
            out += "~1";
        } else {
            out += c;
        }
    }
    return out;
}

std::string pointer_to(std::string_view parent, std::size_t index) {
    return fmt::format("{}/{}", parent, index);
}

std::string_view nearest(std::string_view word, const std::vector<std::string_view>& known) {
    constexpr std::size_t word_bytes_max = 256; // the distance costs the product of the lengths
    if (word.size() > word_bytes_max) {
        return {};
    }
    const std::string written = lowered(word);
    std::string_view best;
    std::size_t best_distance = 0;
    for (const std::string_view candidate : known) {
        // A third of the letters may be wrong: "hots" is "host", "size" is not "hash".
        const std::size_t allowed =
            std::max<std::size_t>(1, std::min(candidate.size(), written.size()) / 3);
        if (candidate.size() > word_bytes_max || candidate.size() > written.size() + allowed ||
            written.size() > candidate.size() + allowed) {
            continue;
        }
        const std::size_t found = distance(written, lowered(candidate));
        if (found <= allowed && (best.empty() || found < best_distance)) {
            best = candidate;
            best_distance = found;
        }
    }
    return best.empty() ? contained(written, known) : best;
}

std::string listed(const std::vector<std::string_view>& words) {
    std::string out;
    for (std::size_t index = 0; index < words.size(); ++index) {
        if (index > 0) {
            out += index + 1 == words.size() ? " or " : ", ";
        }
        out += echoed(words[index]);
    }
    return out;
}

} // namespace ringmx::config
