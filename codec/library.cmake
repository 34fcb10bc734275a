# libentrocodec: the block coder by itself, for other projects. One header, frame.c in front, everything else hidden.
get_target_property(entrocodec_sources codec SOURCES)
list(FILTER entrocodec_sources INCLUDE REGEX
     "^(block|checksum|codebook|error|frame|histogram|joint_lengths|lengths|pivot|plane_code|writer_sample)(_[a-z0-9_]+)?\\.c$")

foreach(kind SHARED STATIC)
  string(TOLOWER entrocodec_${kind} target)
  add_library(${target} ${kind} ${entrocodec_sources})
  set_target_properties(${target} PROPERTIES OUTPUT_NAME entrocodec VERSION ${PROJECT_VERSION} SOVERSION 0
                        C_VISIBILITY_PRESET hidden POSITION_INDEPENDENT_CODE ON PUBLIC_HEADER entrocodec.h)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${target} PRIVATE PkgConfig::XXHASH Threads::Threads m)
  install(TARGETS ${target} COMPONENT entrocodec
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} NAMELINK_COMPONENT entrocodec
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
          PUBLIC_HEADER DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endforeach()

# The folders relative to the .pc file's own, so that an installation can be moved.
set(entrocodec_pc_folder ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH entrocodec_pc_libdir ${entrocodec_pc_folder} ${CMAKE_INSTALL_FULL_LIBDIR})
file(RELATIVE_PATH entrocodec_pc_includedir ${entrocodec_pc_folder} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
configure_file(entrocodec.pc.in ${CMAKE_CURRENT_BINARY_DIR}/entrocodec.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/entrocodec.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT entrocodec)
