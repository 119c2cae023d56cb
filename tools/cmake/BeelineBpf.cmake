# beeline_bpf(NAME SOURCE)
#
# Compiles bpf/SOURCE with the pinned clang to build/bpf/NAME.bpf.o, writes its skeleton NAME.skel.h, and makes the
# interface target bpf_NAME. The shared structs in the object's BTF are compared with the C++ offsets by the test
# abi.NAME (tests/bpf/abi_test.cpp).
find_program(BPF_CLANG clang-19 REQUIRED)
find_program(BPF_STRIP llvm-strip-19 REQUIRED)
find_program(BPFTOOL bpftool PATHS ${BEELINE_DEPS}/root/usr/sbin NO_DEFAULT_PATH REQUIRED)
set(LIBBPF_ROOT ${BEELINE_DEPS}/root/usr)

add_library(beeline_libbpf STATIC IMPORTED)
set_target_properties(beeline_libbpf PROPERTIES
  IMPORTED_LOCATION ${LIBBPF_ROOT}/lib/x86_64-linux-gnu/libbpf.a
  INTERFACE_INCLUDE_DIRECTORIES ${LIBBPF_ROOT}/include
  INTERFACE_LINK_LIBRARIES "elf;z;zstd")

set(BPF_OUT ${CMAKE_BINARY_DIR}/bpf)
file(MAKE_DIRECTORY ${BPF_OUT})
add_custom_command(
  OUTPUT ${BPF_OUT}/vmlinux.h
  COMMAND ${BPFTOOL} btf dump file /sys/kernel/btf/vmlinux format c > ${BPF_OUT}/vmlinux.h
  COMMENT "BPF vmlinux.h")
add_custom_target(bpf_vmlinux DEPENDS ${BPF_OUT}/vmlinux.h)

# bpf/abi is reached as "abi/x.h" from C++ and from C.
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/farm/abi)
if(NOT EXISTS ${CMAKE_BINARY_DIR}/farm/abi/abi)
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/bpf/abi ${CMAKE_BINARY_DIR}/farm/abi/abi SYMBOLIC)
endif()

function(beeline_bpf name source)
  set(object ${BPF_OUT}/${name}.bpf.o)
  set(input ${CMAKE_SOURCE_DIR}/bpf/${source})
  add_custom_command(
    OUTPUT ${object} ${BPF_OUT}/${name}.skel.h
    COMMAND ${BPF_CLANG} -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -Wall -Wextra -Werror
            -Wno-unused-parameter -Wno-missing-declarations -Wno-address-of-packed-member -MD -MF ${object}.d -MT ${object}
            -I${BPF_OUT} -I${CMAKE_SOURCE_DIR}/bpf -isystem ${LIBBPF_ROOT}/include
            -c ${input} -o ${object}.full
    COMMAND ${BPF_STRIP} -g ${object}.full -o ${object}
    COMMAND ${BPFTOOL} gen skeleton ${object} name ${name}_bpf > ${BPF_OUT}/${name}.skel.h
    DEPENDS ${input} ${BPF_OUT}/vmlinux.h
    DEPFILE ${object}.d
    COMMENT "BPF ${name}.bpf.o")
  add_custom_target(bpf_${name}_object DEPENDS ${object} ${BPF_OUT}/${name}.skel.h)
  add_library(bpf_${name} INTERFACE)
  add_dependencies(bpf_${name} bpf_${name}_object)
  target_include_directories(bpf_${name} SYSTEM INTERFACE ${BPF_OUT})
  target_include_directories(bpf_${name} INTERFACE ${CMAKE_BINARY_DIR}/farm/abi)
  target_link_libraries(bpf_${name} INTERFACE beeline_libbpf)
  set_property(GLOBAL APPEND PROPERTY BEELINE_BPF_OBJECTS ${name})
endfunction()
