// Addresses of a network, one after another: those that connections come from (--source), and those
// that PROXY headers name (--proxy-clients).
//
// The network's own address and, for IPv4 with a prefix below 31, its broadcast address are left
// out. Networks of more than 2^32 addresses give the first 2^32.
// Thread: any. Errors: none.
#pragma once

#include "base/address.h"

#include <cstdint>

namespace ringmx::load {

// How many addresses are taken; at least 1.
[[nodiscard]] std::uint64_t addresses_in(const Network& network);
// Number `index`, counted from 0, beginning again after the last.
[[nodiscard]] IpAddress address_of(const Network& network, std::uint64_t index);

// Makes `descriptor` connect from this address, with a port of the kernel's choice; errno or 0.
[[nodiscard]] int bind_source(int descriptor, const IpAddress& address);

} // namespace ringmx::load
