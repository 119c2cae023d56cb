# Read by ctest, not by cmake: the other build trees whose tests belong to this run.
foreach(tree $ENV{BEELINE_TEST_TREES})
  subdirs(${tree})
endforeach()
