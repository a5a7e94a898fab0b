# culvert_quic_core: src/quic/core (Rust) as a static library. One build directory serves all presets with the same
# profile, under cargo's lock: sanitizers are not passed on to Rust.
set(CULVERT_QUIC_CORE_PROFILE "" CACHE STRING "cargo profile of the QUIC core: release, or checked (with assertions)")
if(NOT CULVERT_QUIC_CORE_PROFILE)
  if(CMAKE_BUILD_TYPE STREQUAL "Debug")
    set(CULVERT_QUIC_CORE_PROFILE checked)
  else()
    set(CULVERT_QUIC_CORE_PROFILE release)
  endif()
endif()

# Before minutes of C++: a Rust that is new enough, and the crates.
execute_process(COMMAND ${CMAKE_SOURCE_DIR}/scripts/cargo --ready
                RESULT_VARIABLE core_failed OUTPUT_QUIET ERROR_VARIABLE core_reason)
if(core_failed)
  message(FATAL_ERROR "${core_reason}")
endif()

set(core_dir ${CMAKE_SOURCE_DIR}/src/quic/core)
set(core_target ${CMAKE_SOURCE_DIR}/build/cargo)
set(core_library ${CMAKE_BINARY_DIR}/libculvert_quic_core.a)
file(GLOB_RECURSE core_sources CONFIGURE_DEPENDS ${core_dir}/src/*.rs)

add_custom_command(
  OUTPUT ${core_library}
  # As a static library alone: cargo optimizes across crates (lto) only where the same run makes no rlib, which tests need.
  # --locked: only the versions in Cargo.lock. The few C files in the crates get the compiler of scripts/cargo.
  COMMAND ${CMAKE_COMMAND} -E env CARGO_TARGET_DIR=${core_target} ${CMAKE_SOURCE_DIR}/scripts/cargo rustc --quiet --locked
          --lib --crate-type staticlib --profile ${CULVERT_QUIC_CORE_PROFILE}
  # cargo strips programs, not libraries: Debian's standard library would add 6 MB of debug information to ours. Each build
  # directory has its copy, so that no other build replaces the library while this one links it. Stripping invalidates
  # .llvm_addrsig, which lld would warn of.
  COMMAND ${CMAKE_STRIP} --strip-debug --remove-section=.llvm_addrsig -o ${core_library}
          ${core_target}/${CULVERT_QUIC_CORE_PROFILE}/libculvert_quic_core.a
  DEPENDS ${core_sources} ${core_dir}/Cargo.toml ${core_dir}/Cargo.lock
  COMMENT "Building the QUIC core (${CULVERT_QUIC_CORE_PROFILE})"
  VERBATIM)
add_custom_target(quic_core_build DEPENDS ${core_library})
add_library(culvert_quic_core STATIC IMPORTED GLOBAL)
set_target_properties(culvert_quic_core PROPERTIES IMPORTED_LOCATION ${core_library})
add_dependencies(culvert_quic_core quic_core_build)
target_link_libraries(culvert_quic_core INTERFACE Threads::Threads ${CMAKE_DL_LIBS} m)
