# A room is a folder with one static library. Its link line is the direction rule: what a room
# does not link, it may not include (tests/rooms_test.cc reads the #includes as well).
add_library(understudy_warnings INTERFACE)
target_compile_options(
  understudy_warnings
  INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
            -Woverloaded-virtual -Wno-missing-field-initializers $<$<BOOL:${UNDERSTUDY_WERROR}>:-Werror>
            # False alarms of GCC 12's optimiser about std::string and std::variant.
            "$<$<AND:$<CXX_COMPILER_ID:GNU>,$<CONFIG:Release>>:-Wno-array-bounds;-Wno-restrict;-Wno-stringop-overflow;-Wno-maybe-uninitialized>")

# The same alarms again, where the sanitizers' own code is in the optimiser's way.
if(CMAKE_CXX_FLAGS MATCHES "-fsanitize" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(understudy_warnings INTERFACE -Wno-array-bounds -Wno-restrict -Wno-stringop-overflow
                                                       -Wno-maybe-uninitialized -Wno-tsan)
endif()

# One precompiled header for every room and test: the standard library and nlohmann/json.
if(UNDERSTUDY_PCH)
  file(WRITE ${CMAKE_BINARY_DIR}/pch.cc "")
  add_library(understudy_pch OBJECT ${CMAKE_BINARY_DIR}/pch.cc)
  target_link_libraries(understudy_pch PRIVATE nlohmann_json::nlohmann_json fmt::fmt understudy_warnings)
  target_precompile_headers(
    understudy_pch PRIVATE <algorithm> <atomic> <chrono> <cstdint> <filesystem> <functional>
    <map> <memory> <mutex> <optional> <set> <sstream> <string> <string_view> <thread> <vector>
    <nlohmann/json.hpp> <fmt/format.h>)
endif()

# understudy_room(NAME SOURCES file... LINK target...)
function(understudy_room NAME)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  if(NOT ARG_SOURCES)
    add_library(${NAME} INTERFACE)
    target_link_libraries(${NAME} INTERFACE ${ARG_LINK})
    return()
  endif()
  add_library(${NAME} STATIC ${ARG_SOURCES})
  target_include_directories(${NAME} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(${NAME} PUBLIC ${ARG_LINK} PRIVATE understudy_warnings)
  if(UNDERSTUDY_PCH)
    target_precompile_headers(${NAME} REUSE_FROM understudy_pch)
  endif()
endfunction()

# understudy_test(NAME LABELS label... SOURCES file... LINK target...): one GoogleTest program.
function(understudy_test NAME)
  cmake_parse_arguments(ARG "" "" "LABELS;SOURCES;LINK" ${ARGN})
  add_executable(${NAME} ${ARG_SOURCES})
  target_include_directories(${NAME} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${NAME} PRIVATE ${ARG_LINK} GTest::gmock GTest::gtest_main
                                        understudy_warnings)
  target_compile_options(${NAME} PRIVATE -O0)
  target_compile_definitions(${NAME} PRIVATE UNDERSTUDY_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                             UNDERSTUDY_PROGRAM="${CMAKE_BINARY_DIR}/understudy")
  add_test(NAME ${NAME} COMMAND ${NAME})
  set_tests_properties(${NAME} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 900)
endfunction()
