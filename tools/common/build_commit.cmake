# Writes OUTPUT, a header with the commit that SOURCE_DIR stands at; touched only when that changes, so that a build
# without a new commit compiles nothing. "unknown" outside a checkout, "+" after it for changes not committed.
find_program(git_program git)
set(commit unknown)
if(git_program)
  execute_process(COMMAND ${git_program} -C ${SOURCE_DIR} describe --always --abbrev=12 --exclude=* --dirty=+
                  OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed)
    set(commit ${described})
  endif()
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/build_commit.h.in ${OUTPUT} @ONLY)
