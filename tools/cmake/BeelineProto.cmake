# The messages and services of src/api/proto as one library, beeline_api_proto. What protoc writes is compiled without our
# warnings and included as a system header: <flow/flow.pb.h>.
find_package(gRPC CONFIG REQUIRED)

function(beeline_proto name directory)
  set(out ${CMAKE_BINARY_DIR}/proto)
  file(MAKE_DIRECTORY ${out})
  set(generated)
  foreach(proto ${ARGN})
    set(made ${out}/${proto}.pb.cc ${out}/${proto}.pb.h)
    set(services)
    file(STRINGS ${directory}/${proto}.proto service REGEX "^service ")
    if(service)
      list(APPEND made ${out}/${proto}.grpc.pb.cc ${out}/${proto}.grpc.pb.h)
      set(services --grpc_out=${out} --plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin>)
    endif()
    add_custom_command(
      OUTPUT ${made}
      COMMAND protobuf::protoc -I ${directory} --cpp_out=${out} ${services} ${proto}.proto
      WORKING_DIRECTORY ${directory}
      DEPENDS ${directory}/${proto}.proto
      VERBATIM)
    list(APPEND generated ${made})
  endforeach()
  add_library(beeline_${name} STATIC ${generated})
  # In the trees of tests as quickly as can be: it is not what they test.
  target_compile_options(beeline_${name} PRIVATE -w $<$<CONFIG:Debug>:-O0 -g0 -fno-sanitize=all>)
  target_include_directories(beeline_${name} SYSTEM PUBLIC ${out})
  target_link_libraries(beeline_${name} PUBLIC gRPC::grpc++ protobuf::libprotobuf)
endfunction()
