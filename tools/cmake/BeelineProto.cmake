# The messages and services of src/api/proto as one library, beeline_api_proto. What protoc writes is compiled without our
# warnings and included as a system header: <flow/flow.pb.h>.
find_package(gRPC CONFIG REQUIRED)

function(beeline_proto name directory)
  set(out ${CMAKE_BINARY_DIR}/proto)
  file(MAKE_DIRECTORY ${out})
  set(generated)
  foreach(proto ${ARGN})
    set(made ${out}/${proto}.pb.cc ${out}/${proto}.pb.h ${out}/${proto}.grpc.pb.cc ${out}/${proto}.grpc.pb.h)
    add_custom_command(
      OUTPUT ${made}
      COMMAND protobuf::protoc -I ${directory} --cpp_out=${out} --grpc_out=${out}
              --plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin> ${proto}.proto
      WORKING_DIRECTORY ${directory}
      DEPENDS ${directory}/${proto}.proto
      VERBATIM)
    list(APPEND generated ${made})
  endforeach()
  add_library(beeline_${name} STATIC ${generated})
  target_compile_options(beeline_${name} PRIVATE -w)
  target_include_directories(beeline_${name} SYSTEM PUBLIC ${out})
  target_link_libraries(beeline_${name} PUBLIC gRPC::grpc++ protobuf::libprotobuf)
endfunction()
