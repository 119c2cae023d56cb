# Test programs outside src/: names, libraries, labels.
#
# BEELINE_TEST_KIND is the first part of a unit test's name and its label: `unit` in the dev preset, `asan` and `tsan` in
# the sanitizer presets, so that one ctest run can cover several build trees (tools/test).
set(BEELINE_TEST_KIND unit CACHE STRING "Label and name prefix of unit tests")
set(BEELINE_TEST_FOLDERS "" CACHE STRING "Folders of src/ whose unit tests are wanted; empty: all")
add_custom_target(unit_tests)
add_custom_target(fuzz_tests)

# beeline_unit_test(NAME PROGRAM [ARG...]): runs PROGRAM as test KIND.NAME.
function(beeline_unit_test name program)
  add_test(NAME ${BEELINE_TEST_KIND}.${name} COMMAND ${program} ${ARGN})
  set_tests_properties(${BEELINE_TEST_KIND}.${name} PROPERTIES LABELS ${BEELINE_TEST_KIND} TIMEOUT 300)
  add_dependencies(unit_tests ${program})
endfunction()

# Is the unit test of this folder of src/ wanted?
function(beeline_test_wanted folder result)
  if(NOT BUILD_TESTING OR (BEELINE_TEST_FOLDERS AND NOT folder IN_LIST BEELINE_TEST_FOLDERS))
    set(${result} FALSE PARENT_SCOPE)
  else()
    set(${result} TRUE PARENT_SCOPE)
  endif()
endfunction()

# Reads `// libs: a b c` from the first line of SOURCE: folders of src/ (a), or targets with their full name.
function(beeline_libs_of source result)
  file(STRINGS ${source} first LIMIT_COUNT 1)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
  if(NOT first MATCHES "^// libs: (.*)$")
    message(FATAL_ERROR "${source}: the first line must be `// libs: NAME...`")
  endif()
  string(REGEX MATCHALL "[^ ]+" names "${CMAKE_MATCH_1}")
  set(libs)
  foreach(name ${names})
    if(TARGET beeline_${name})
      list(APPEND libs beeline_${name})
    else()
      list(APPEND libs ${name})
    endif()
  endforeach()
  set(${result} ${libs} PARENT_SCOPE)
endfunction()
