// Ways of cutting one input: a scanner must say the same however its octets come.
#pragma once

#include "base/bytes.h"

#include <algorithm>
#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::test {

using Pieces = std::vector<std::string_view>;

// The whole, every cut in two, every octet alone, and every octet alone with empty pieces between.
// The pieces are views: the input must outlive them, so it can't be a temporary of a range-for.
inline std::vector<Pieces> every_split(std::string_view input) {
    std::vector<Pieces> splits{{input}};
    for (std::size_t cut = 1; cut < input.size(); ++cut) {
        splits.push_back({input.substr(0, cut), input.substr(cut)});
    }
    Pieces octets;
    Pieces with_empty;
    for (std::size_t at = 0; at < input.size(); ++at) {
        octets.push_back(input.substr(at, 1));
        with_empty.push_back({});
        with_empty.push_back(input.substr(at, 1));
    }
    splits.push_back(octets);
    splits.push_back(with_empty);
    return splits;
}

inline Pieces random_split(std::string_view input, std::size_t piece_max, std::mt19937& random) {
    Pieces pieces;
    while (!input.empty()) {
        const std::size_t size = std::min<std::size_t>(input.size(), 1 + random() % piece_max);
        pieces.push_back(input.substr(0, size));
        input.remove_prefix(size);
    }
    return pieces;
}

// Every string over the alphabet of up to `length_max` octets.
template <typename Visit>
void every_string(std::string_view alphabet, std::size_t length_max, Visit&& visit) {
    std::vector<std::string> level{""};
    for (std::size_t length = 0;; ++length) {
        std::vector<std::string> longer;
        for (const std::string& text : level) {
            visit(text);
            if (length < length_max) {
                for (const char octet : alphabet) {
                    longer.push_back(text + octet);
                }
            }
        }
        if (length == length_max) {
            return;
        }
        level.swap(longer);
    }
}

// Mail-like octets in which everything that a scanner cares about is frequent; `strange` in 1000
// octets is out of the ordinary.
inline std::string random_wire(std::size_t size, unsigned strange, std::mt19937& random) {
    static constexpr std::string_view odd{"\r\n.\0", 4};
    static constexpr std::string_view newlines[] = {"\r\n", "\r\n", "\r\n.", "\r\n..", "\r\n.\r"};
    std::string wire;
    while (wire.size() < size) {
        if (random() % 1000 < strange) {
            wire += odd[random() % odd.size()];
        } else if (random() % 20 == 0) {
            wire += newlines[random() % (strange == 0 ? 2 : std::size(newlines))];
        } else {
            wire += static_cast<char>('a' + random() % 26);
        }
    }
    return wire;
}

} // namespace ringmx::test
