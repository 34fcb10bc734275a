# Cross-builds for aarch64 Linux with Debian's compiler, and runs what it built under qemu-user. The libraries are those that
# foreign_packages (packages.sh) unpacked; the C library is the cross compiler's.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)

get_filename_component(entro_packages ${CMAKE_CURRENT_LIST_DIR}/../build/aarch64-packages ABSOLUTE)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${entro_packages})
set(ENV{PKG_CONFIG_LIBDIR} ${entro_packages}/usr/lib/aarch64-linux-gnu/pkgconfig)

find_program(ENTRO_QEMU NAMES qemu-aarch64-static qemu-aarch64 REQUIRED)
set(CMAKE_CROSSCOMPILING_EMULATOR ${ENTRO_QEMU} -L /usr/aarch64-linux-gnu)
