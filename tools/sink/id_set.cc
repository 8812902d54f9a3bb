#include "sink/id_set.h"

#include <xxhash.h>

namespace ringmx::sink {
namespace {

constexpr std::size_t places_at_first = 1024;

} // namespace

bool IdSet::insert(std::string_view id) {
    const std::uint64_t hash = XXH3_64bits(id.data(), id.size());
    return insert_hash(hash == 0 ? 1 : hash);
}

void IdSet::merge(const IdSet& other) {
    for (const std::uint64_t hash : other.places_) {
        if (hash != 0) {
            insert_hash(hash);
        }
    }
}

bool IdSet::insert_hash(std::uint64_t hash) {
    if ((size_ + 1) * 3 > places_.size() * 2) {
        grow();
    }
    const std::size_t mask = places_.size() - 1;
    for (std::size_t place = hash & mask;; place = (place + 1) & mask) {
        if (places_[place] == hash) {
            return false;
        }
        if (places_[place] == 0) {
            places_[place] = hash;
            ++size_;
            return true;
        }
    }
}

void IdSet::grow() {
    std::vector<std::uint64_t> old(places_.empty() ? places_at_first : places_.size() * 2, 0);
    old.swap(places_);
    size_ = 0;
    for (const std::uint64_t hash : old) {
        if (hash != 0) {
            insert_hash(hash);
        }
    }
}

} // namespace ringmx::sink
