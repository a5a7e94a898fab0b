include(GoogleTest)

# culvert_module(name [PCH] [COLD] [TEST_ONLY] [LINK public...] [PRIVATE private...] [TEST for its tests...])
#
# One module: src/<name>/*.cc without *_test.cc becomes the static library culvert_<name>, and
# *_test.cc becomes the program <name>_test. PCH is for the modules that see Asio, COLD for those with
# nothing on the data path.
function(culvert_module name)
  cmake_parse_arguments(arg "PCH;COLD;TEST_ONLY" "" "LINK;PRIVATE;TEST" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  if(sources)
    add_library(culvert_${name} STATIC ${sources})
    target_link_libraries(culvert_${name} PUBLIC culvert_flags ${arg_LINK} PRIVATE ${arg_PRIVATE})
    if(arg_COLD)
      culvert_cold(culvert_${name})
    endif()
    if(arg_PCH)
      culvert_asio_pch(culvert_${name})
    endif()
  else()
    add_library(culvert_${name} INTERFACE)
    target_link_libraries(culvert_${name} INTERFACE culvert_flags ${arg_LINK})
  endif()
  if(tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE culvert_${name} ${arg_PRIVATE} ${arg_TEST} GTest::gtest_main GTest::gmock)
    if(arg_PCH)
      culvert_asio_pch(${name}_test)
    endif()
    gtest_discover_tests(${name}_test DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 600)
  endif()
endfunction()

# An agent keeps this code resident all day and hardly runs it: as small as it gets.
function(culvert_cold target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:RelWithDebInfo>:-Oz>)
endfunction()

# One precompiled header serves every target that sees Asio: culvert_net builds it.
function(culvert_asio_pch target)
  if(target STREQUAL "culvert_net")
    target_precompile_headers(culvert_net PRIVATE ${CMAKE_SOURCE_DIR}/src/net/pch.h)
  else()
    target_precompile_headers(${target} REUSE_FROM culvert_net)
  endif()
endfunction()
