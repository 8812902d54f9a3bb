// The commands that ask a running gateway through its admin address.
//
// Out:    what is asked for, to stdout; one line to stderr when that fails. Gives the exit status:
//         0, or 1 when no gateway answers (CONTRACT 2).
// Thread: the only one.
#pragma once

#include "http_get.h"

namespace ringmx {

[[nodiscard]] int ask_status(const HttpTarget& admin, bool as_json);

} // namespace ringmx
