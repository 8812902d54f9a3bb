// RINGMX_ADDRESS_SANITIZER or RINGMX_THREAD_SANITIZER, if this is built with one: g++ and clang say so
// in ways of their own.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define RINGMX_ADDRESS_SANITIZER
#elif defined(__SANITIZE_THREAD__)
#define RINGMX_THREAD_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RINGMX_ADDRESS_SANITIZER
#elif __has_feature(thread_sanitizer)
#define RINGMX_THREAD_SANITIZER
#endif
#endif
