# How every target of ringmx is compiled, and the shapes that targets come in.
#
#   ringmx_layer(NAME SOURCES… [EXCEPTIONS] [LINK …])   a library ringmx_NAME for gateway/NAME
#   ringmx_program(NAME SOURCES… [LINK …])              a program at the top of the build folder, with mimalloc outside sanitizer builds
#   ringmx_test(NAME SOURCES… [LINK …])                 a GoogleTest program whose cases ctest runs one by one
#   ringmx_fuzz(NAME SOURCES… [LINK …] [DICTIONARY …])  tests/fuzz/NAME: a fuzzer, or in ordinary builds a test that replays tests/corpus/NAME
#   ringmx_benchmark(NAME SOURCES… [LINK …])            a Google Benchmark program

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

set(RINGMX_SANITIZE "" CACHE STRING "address, thread, or nothing")
set_property(CACHE RINGMX_SANITIZE PROPERTY STRINGS "" address thread)

add_library(ringmx_flags INTERFACE)
target_include_directories(ringmx_flags INTERFACE ${PROJECT_SOURCE_DIR}/gateway)
target_compile_options(ringmx_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -fno-omit-frame-pointer)
# Nobody interposes a program's own functions, so they may be inlined: 2% of the instructions of a message.
target_compile_options(ringmx_flags INTERFACE -fno-semantic-interposition)
if(RINGMX_SANITIZE STREQUAL "address")
    target_compile_options(ringmx_flags INTERFACE -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all)
    target_link_options(ringmx_flags INTERFACE -fsanitize=address,undefined)
elseif(RINGMX_SANITIZE STREQUAL "thread")
    target_compile_options(ringmx_flags INTERFACE -fsanitize=thread)
    target_link_options(ringmx_flags INTERFACE -fsanitize=thread)
elseif(RINGMX_SANITIZE)
    message(FATAL_ERROR "RINGMX_SANITIZE is '${RINGMX_SANITIZE}', expected address, thread or nothing")
endif()

if(RINGMX_FUZZ)
    if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "RINGMX_FUZZ needs clang: cmake --preset fuzz")
    endif()
    target_compile_options(ringmx_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

function(ringmx_layer name)
    cmake_parse_arguments(PARSE_ARGV 1 layer "EXCEPTIONS" "" "SOURCES;LINK")
    add_library(ringmx_${name} STATIC ${layer_SOURCES})
    target_link_libraries(ringmx_${name} PUBLIC ringmx_flags ${layer_LINK})
    if(NOT layer_EXCEPTIONS)
        target_compile_options(ringmx_${name} PRIVATE -fno-exceptions -fno-rtti)
    endif()
endfunction()

function(ringmx_program name)
    cmake_parse_arguments(PARSE_ARGV 1 program "" "" "SOURCES;LINK")
    add_executable(${name} ${program_SOURCES})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
    target_link_libraries(${name} PRIVATE ${program_LINK} ringmx_flags)
    if(NOT RINGMX_SANITIZE)
        target_link_libraries(${name} PRIVATE mimalloc)
    endif()
endfunction()

function(ringmx_test name)
    cmake_parse_arguments(PARSE_ARGV 1 test "" "" "SOURCES;LINK")
    add_executable(${name} ${test_SOURCES})
    target_link_libraries(${name} PRIVATE ${test_LINK} ringmx_flags GTest::gmock_main)
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
    gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 300)
endfunction()

function(ringmx_benchmark name)
    cmake_parse_arguments(PARSE_ARGV 1 benchmark "" "" "SOURCES;LINK")
    add_executable(${name} ${benchmark_SOURCES})
    target_link_libraries(${name} PRIVATE ${benchmark_LINK} ringmx_flags benchmark::benchmark_main)
endfunction()

# With RINGMX_FUZZ the target is libFuzzer's; without it a small driver replays the corpus and seeded mutations of it, as a test.
# RINGMX_FUZZ_SECONDS: how long each fuzzer runs in ctest.
set(RINGMX_FUZZ_SECONDS 20 CACHE STRING "how long each fuzzer runs as a test")
add_custom_target(fuzzers) # all of them and nothing else
function(ringmx_fuzz name)
    cmake_parse_arguments(PARSE_ARGV 1 fuzz "" "DICTIONARY" "SOURCES;LINK")
    add_executable(fuzz_${name} ${fuzz_SOURCES})
    target_link_libraries(fuzz_${name} PRIVATE ${fuzz_LINK} ringmx_flags)
    add_dependencies(fuzzers fuzz_${name})
    set(corpus ${PROJECT_SOURCE_DIR}/tests/corpus/${name})
    if(RINGMX_FUZZ)
        target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
        target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
        set(options -max_total_time=${RINGMX_FUZZ_SECONDS} -timeout=60 -artifact_prefix=${PROJECT_BINARY_DIR}/fuzz-found/${name}-)
        if(fuzz_DICTIONARY)
            list(APPEND options -dict=${CMAKE_CURRENT_SOURCE_DIR}/${fuzz_DICTIONARY})
        endif()
        add_test(NAME fuzz.${name} COMMAND fuzz_${name} ${options} ${PROJECT_BINARY_DIR}/fuzz-found/${name} ${corpus})
        file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz-found/${name})
    else()
        target_sources(fuzz_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cc)
        add_test(NAME fuzz.${name} COMMAND fuzz_${name} ${corpus})
    endif()
    set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 120)
endfunction()
