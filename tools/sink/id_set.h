// A set of Message-IDs by their 64-bit hash: whether a message came before.
//
// Of ten million ids, two different ones share a hash with a probability of about 3 in a million:
// the cost of keeping 8 octets of each.
// Memory: 8 octets a place, at most two thirds used; grows by doubling, and has no bound but the
//         number of messages.
// Thread: one; merged after the threads have ended.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace ringmx::sink {

class IdSet {
  public:
    // False: it was there already.
    bool insert(std::string_view id);
    void merge(const IdSet& other);
    [[nodiscard]] std::size_t size() const { return size_; }

  private:
    bool insert_hash(std::uint64_t hash);
    void grow();

    std::vector<std::uint64_t> places_; // 0: free
    std::size_t size_ = 0;
};

} // namespace ringmx::sink
