// Sockets outside the ring's turns: listening, addresses.
//
// Descriptors are close-on-exec and blocking: io_uring polls by itself and never blocks its caller
// on a socket. Accepted sockets inherit TCP_NODELAY from their listener: without it a reply waits
// 40 ms for the client's delayed ACK.
// Thread: any.
// Errors: the system's, with the address as subject.
// Source: socket(7), tcp(7), ipv6(7), unix(7).
#pragma once

#include "base/address.h"
#include "base/error.h"

namespace ringmx::ring {

// A listening socket. IPv6 sockets take IPv6 only (a wildcard of each family may be bound side by
// side). `reuse_port`: several workers listen at the same address, and the kernel spreads
// connections over them. A Unix path that a dead program left behind is replaced; one that is being
// listened at, or that is no socket, is an error.
[[nodiscard]] Expected<int> listen_on(const SocketAddress& address, int backlog, bool reuse_port);
// The same, tried again for a second while the address is taken: the kernel closes the ring of a
// process that was killed, and the listeners in it, a moment after the process is gone. Blocks.
[[nodiscard]] Expected<int> listen_patiently(const SocketAddress& address, int backlog,
                                             bool reuse_port);
// Nobody listens there. With SO_REUSEPORT a second program of the same user would share the address in
// silence; a plain bind sees it. Port 0 is always free. Blocks as listen_patiently() does.
[[nodiscard]] Expected<void> check_free(const SocketAddress& address);
// The soft limit of open files becomes the hard one: its default of 1,024 is for programs that use
// select(). Where that fails it stays, and opening says so.
void raise_descriptor_limit();

// A stream socket for connecting to `target`, with TCP_NODELAY where that means something.
[[nodiscard]] Expected<int> open_socket(const SocketAddress& target);

[[nodiscard]] Expected<SocketAddress>
local_address(int descriptor); // of a listener too: says the port that 0 became
[[nodiscard]] Expected<SocketAddress> peer_address(int descriptor);

// Closes; with `reset` the peer gets RST and what was unsent is dropped.
void close_socket(int descriptor, bool reset = false);

} // namespace ringmx::ring
