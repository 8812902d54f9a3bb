// What clients of a simulation sent and were told, to be held against what backends have.
//
//   a 250 after the data: a backend has exactly these octets, for exactly the recipients that were
//   answered 250, and said so itself;
//   a whole message at a backend: its client sent the last octet.
//
// Messages are told apart by the Message-ID that text() begins with.
// Thread: one.
// Errors: check() fails the test that runs.
#pragma once

#include "sim/random.h"
#include "sim/worker_backend.h"

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::sim {

struct Sent {
    std::string octets;
    std::vector<std::string> recipients; // answered 250
    bool ended = false;                  // its last octet was given to the network
    bool accepted = false;               // 250
};

class Promises {
  public:
    // A new message of about `size` octets; the reference stays good.
    Sent& begin(const std::string& id, Random& random, std::size_t size);
    void check(const std::vector<ScriptedBackend*>& backends) const;
    [[nodiscard]] std::size_t accepted_count() const;

  private:
    std::map<std::string, Sent> sent_;
};

// As DATA wants it, with the final dot.
[[nodiscard]] std::string stuffed(std::string_view octets);

} // namespace ringmx::sim
