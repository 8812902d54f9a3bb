#include "adopted_segments.h"

#include <cstdint>
#include <gtest/gtest.h>
#include <memory>
#include <utility>
#include <vector>

namespace ringmx {
namespace {

constexpr std::uint64_t segment_bytes = 1U << 20U;

spool::SegmentName name_of(std::uint32_t index) { return {1, 0, index + 1}; }

// What is in a segment, and the one that marks in it are about.
struct Image {
    std::uint32_t records = 0;
    std::uint64_t live_bytes = 0;
    std::vector<std::uint32_t> waits_for = {};
};

struct Adopted {
    explicit Adopted(const std::vector<Image>& images);
    // After one more look.
    [[nodiscard]] std::vector<std::uint32_t> in_the_way(bool is_over);

    AdoptedSegments table;
    std::vector<worker::AdoptedSegment*> segments;
};

Adopted::Adopted(const std::vector<Image>& images) {
    std::vector<std::unique_ptr<worker::AdoptedSegment>> made;
    std::vector<std::vector<spool::Segment::Marked>> marked;
    for (const Image& image : images) {
        auto segment = std::make_unique<worker::AdoptedSegment>();
        segment->name = name_of(static_cast<std::uint32_t>(made.size()));
        segment->size_bytes = segment_bytes;
        segment->records = image.records;
        segment->live_bytes = image.live_bytes;
        segment->holds = image.records;
        segments.push_back(segment.get());
        made.push_back(std::move(segment));
        marked.emplace_back();
        for (const std::uint32_t home : image.waits_for) {
            marked.back().push_back({name_of(home), 1});
        }
    }
    table.adopt(std::move(made), std::move(marked));
}

std::vector<std::uint32_t> Adopted::in_the_way(bool is_over) {
    EXPECT_TRUE(table.unneeded().empty());
    table.note_what_is_in_the_way(is_over);
    std::vector<std::uint32_t> found;
    for (std::uint32_t index = 0; index < segments.size(); ++index) {
        if (segments[index]->is_in_the_way) {
            found.push_back(index);
        }
    }
    return found;
}

using Found = std::vector<std::uint32_t>;

// Nothing is moved that keeps nobody waiting.
TEST(AdoptedSegments, WhoWaitsForAnotherKeepsNobodyWaitingByItself) {
    Adopted adopted({{1, 1000}, {0, 0, {0}}, {0, 0, {1}}});
    EXPECT_EQ(adopted.in_the_way(false), Found());
    EXPECT_EQ(adopted.in_the_way(false), Found());
}

TEST(AdoptedSegments, WhatOneInTheWayWaitsForIsInTheWayToo) {
    Adopted adopted({{1, 1000}, {0, 0, {0}}, {0, 0, {1}}, {1, 1000}});
    adopted.segments[2]->is_in_the_way = true;
    (void)adopted.in_the_way(false);
    EXPECT_EQ(adopted.in_the_way(false), (Found{0, 1, 2}));
}

TEST(AdoptedSegments, WhereTheyAreTooMuchThoseThatHoldLeastAreOneAfterTheOther) {
    Adopted adopted({{4, segment_bytes / 2 + 8}, {2, 2000}, {1, 1000}, {0, 0, {0}}});
    EXPECT_EQ(adopted.in_the_way(true), (Found{0, 2})) << "one waits for the first";
    EXPECT_EQ(adopted.in_the_way(true), (Found{0, 1, 2}));
}

TEST(AdoptedSegments, WhatIsMostlyMailStays) {
    Adopted adopted({{4, segment_bytes / 2 + 8}, {1, 1000}});
    EXPECT_EQ(adopted.in_the_way(true), Found{1});
    EXPECT_EQ(adopted.in_the_way(true), Found{1});
    --adopted.segments[0]->holds;
    EXPECT_EQ(adopted.in_the_way(true), (Found{0, 1})) << "three of its four are left";
}

} // namespace
} // namespace ringmx
