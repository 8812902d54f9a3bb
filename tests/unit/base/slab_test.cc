#include "base/slab.h"

#include <gtest/gtest.h>

#include <set>

namespace ringmx {
namespace {

struct Thing {
    Thing(Handle given, int number) : self(given), value(number) { ++alive; }
    ~Thing() { --alive; }
    Thing(const Thing&) = delete;
    Thing& operator=(const Thing&) = delete;
    Handle self;
    int value;
    static inline int alive = 0;
};

TEST(Slab, ObjectIsFoundByItsHandleUntilItIsGone) {
    Slab<Thing> slab(10);
    Thing* const thing = slab.create(5);
    const Handle handle = thing->self;
    EXPECT_TRUE(handle);
    EXPECT_EQ(slab.find(handle), thing);
    EXPECT_EQ(slab.find(Handle::unpacked(handle.packed())), thing);
    EXPECT_EQ(slab.at(handle.slot), thing);
    slab.destroy(*thing);
    EXPECT_EQ(slab.find(handle), nullptr);
    EXPECT_EQ(slab.at(handle.slot), nullptr);
    EXPECT_EQ(slab.find({}), nullptr);
}

TEST(Slab, OldHandleDoesNotFindTheSlotsNextObject) {
    Slab<Thing> slab(10);
    Thing* const first = slab.create(1);
    const Handle old = first->self;
    slab.destroy(*first);
    Thing* const second = slab.create(2);
    EXPECT_EQ(second->self.slot, old.slot) << "the hottest slot is used first";
    EXPECT_EQ(slab.find(old), nullptr);
    EXPECT_EQ(slab.find(second->self)->value, 2);
}

TEST(Slab, FullSlabGivesNullAndFreedSlotsCountAgain) {
    Slab<Thing> slab(3);
    Thing* const one = slab.create(1);
    EXPECT_NE(slab.create(2), nullptr);
    EXPECT_NE(slab.create(3), nullptr);
    EXPECT_EQ(slab.create(4), nullptr);
    slab.destroy(*one);
    EXPECT_EQ(slab.used(), 2U);
    EXPECT_NE(slab.create(4), nullptr);
}

TEST(Slab, AddressesStayWhileItGrowsAndTheDestructorEndsAll) {
    {
        Slab<Thing> slab(1000);
        Thing* const first = slab.create(0);
        std::set<std::uint32_t> slots;
        for (int number = 1; number < 1000; ++number) {
            slots.insert(slab.create(number)->self.slot);
        }
        EXPECT_EQ(slots.size(), 999U);
        EXPECT_EQ(slab.find(first->self), first);
        slab.for_each([&](Thing& thing) {
            if (thing.value % 2 == 0) {
                slab.destroy(thing);
            }
        });
        EXPECT_EQ(slab.used(), 500U);
        EXPECT_EQ(Thing::alive, 500);
    }
    EXPECT_EQ(Thing::alive, 0);
}

} // namespace
} // namespace ringmx
