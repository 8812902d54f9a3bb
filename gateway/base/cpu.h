// Which instruction set extensions this machine has, for run-time dispatch over a baseline build.
//
// A fast path is compiled with a target attribute under RINGMX_X86_64 and taken only if its feature
// is reported here; the plain path is always compiled and is the definition that the fast one is
// tested against. Elsewhere than on x86-64 nothing is reported.
// Thread: any; asked once, constant after.
// Errors: none.
#pragma once

#if defined(__x86_64__)
#define RINGMX_X86_64 1
#endif

namespace ringmx {

struct CpuFeatures {
    bool avx2 = false; // and the system saves the wide registers
    bool sse42 = false;
};

[[nodiscard]] const CpuFeatures& cpu_features();

} // namespace ringmx
