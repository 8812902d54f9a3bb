#include "base/cpu.h"

namespace ringmx {
namespace {

CpuFeatures ask() {
    CpuFeatures features;
#ifdef RINGMX_X86_64
    __builtin_cpu_init();
    features.avx2 = __builtin_cpu_supports("avx2") != 0;
    features.sse42 = __builtin_cpu_supports("sse4.2") != 0;
#endif
    return features;
}

} // namespace

const CpuFeatures& cpu_features() {
    static const CpuFeatures features = ask();
    return features;
}

} // namespace ringmx
