# Headers that nearly every source reads, parsed once per build tree: they are most of what the compiler does. A source
# still includes what it uses: libraries of the dev preset are built without (tools/check-includes relies on it).
#
# beeline_precompiled(TARGET [TESTS]): TESTS adds googletest's header and applies in every tree. Tests are not optimised:
# it halves their compile time, and gcc 12 warns of what is not there in optimised code from a precompiled header.
option(BEELINE_PRECOMPILED "Precompile headers" ON)
set(BEELINE_PRECOMPILED_HEADERS
  <algorithm> <array> <atomic> <charconv> <chrono> <cstdint> <cstring> <deque> <filesystem> <fstream> <functional> <map>
  <memory> <mutex> <optional> <set> <span> <string> <string_view> <thread> <unordered_map> <utility> <variant>
  <vector> <fmt/format.h> <nlohmann/json.hpp> <tl/expected.hpp>)

# Precompiled, the standard library's own use of what it deprecates is told as if it were ours.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  set(BEELINE_PRECOMPILED_QUIET -Wno-deprecated-declarations)
endif()
if(NOT EXISTS ${CMAKE_BINARY_DIR}/precompiled.cpp)
  file(WRITE ${CMAKE_BINARY_DIR}/precompiled.cpp "")
endif()
foreach(kind "" _tests)
  add_library(beeline_precompiled${kind} OBJECT ${CMAKE_BINARY_DIR}/precompiled.cpp)
  target_precompile_headers(beeline_precompiled${kind} PRIVATE ${BEELINE_PRECOMPILED_HEADERS})
  # Some libraries ask for it, and a precompiled header is only used with the same.
  target_compile_options(beeline_precompiled${kind} PRIVATE -pthread ${BEELINE_PRECOMPILED_QUIET})
endforeach()
target_link_libraries(beeline_precompiled_tests PRIVATE GTest::gtest)
target_precompile_headers(beeline_precompiled_tests PRIVATE <gtest/gtest.h>)
target_compile_options(beeline_precompiled_tests PRIVATE -O0)

function(beeline_precompiled target)
  cmake_parse_arguments(ARG "TESTS" "" "" ${ARGN})
  if(NOT BEELINE_PRECOMPILED OR (NOT ARG_TESTS AND NOT BEELINE_SANITIZE))
    return()
  endif()
  target_compile_options(${target} PRIVATE -pthread ${BEELINE_PRECOMPILED_QUIET})
  if(ARG_TESTS)
    target_precompile_headers(${target} REUSE_FROM beeline_precompiled_tests)
    target_compile_options(${target} PRIVATE -O0)
  else()
    target_precompile_headers(${target} REUSE_FROM beeline_precompiled)
  endif()
endfunction()
