# Where things go: `cmake --install`, and the portable folder, which is flat.
include(CMakePackageConfigHelpers)
set(libdir ${CMAKE_INSTALL_LIBDIR})
set(plugins ${libdir}/attnc)

# ---- programs and libraries ----

set(shipped attnc_cli attnc_cc attnc attnc_rt attnc_emu)
install(TARGETS attnc attnc_rt EXPORT attnc LIBRARY DESTINATION ${libdir})
install(TARGETS attnc_cli attnc_emu RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
  LIBRARY DESTINATION ${libdir})
install(TARGETS attnc_cc RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/attnc)
if(TARGET attnc_llvm)
  list(APPEND shipped attnc_llvm)
  install(TARGETS attnc_llvm LIBRARY DESTINATION ${plugins})
endif()
if(ATTNC_STATIC)
  install(TARGETS attnc_static attnc_rt_static EXPORT attnc ARCHIVE DESTINATION ${libdir})
endif()
install(DIRECTORY include/attnc DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

# ---- for CMake and pkg-config: neither has a path in it, so that a prefix may be moved ----

set(packages ${libdir}/cmake/attnc)
install(EXPORT attnc NAMESPACE attnc:: FILE attncTargets.cmake DESTINATION ${packages})
configure_package_config_file(scripts/attncConfig.cmake.in gen/attncConfig.cmake
  INSTALL_DESTINATION ${packages} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(gen/attncConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES scripts/attncPack.cmake ${PROJECT_BINARY_DIR}/gen/attncConfig.cmake
  ${PROJECT_BINARY_DIR}/gen/attncConfigVersion.cmake DESTINATION ${packages})
foreach(name attnc attnc_rt)
  file(RELATIVE_PATH to_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
  configure_file(scripts/${name}.pc.in gen/${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/gen/${name}.pc DESTINATION ${libdir}/pkgconfig)
endforeach()

# ---- data, documents ----

set(data ${CMAKE_INSTALL_DATADIR}/attnc)
install(DIRECTORY schema specs python DESTINATION ${data}
  PATTERN tests EXCLUDE PATTERN __pycache__ EXCLUDE PATTERN ".*_cache" EXCLUDE PATTERN CMakeLists.txt EXCLUDE
  PATTERN "*-requirements.txt" EXCLUDE)
install(DIRECTORY share/tune DESTINATION ${data} PATTERN README.md EXCLUDE)
# Pages lie beside each other as in the tree, so that their links lead somewhere.
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs examples DESTINATION ${CMAKE_INSTALL_DOCDIR})
file(GLOB_RECURSE pages RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS bench/*.md tests/*.md
  python/*.md)
file(GLOB_RECURSE linking RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS docs/*.md specs/*.md)
foreach(page README.md ${pages} ${linking}) # and the sources that they link
  get_filename_component(folder ${page} DIRECTORY)
  file(READ ${page} text)
  string(REGEX MATCHALL "\\(([a-z.]+/)*[A-Za-z0-9_-]+[.][a-z.]+[)#]" links "${text}")
  foreach(link ${links})
    string(REGEX REPLACE "[()#]" "" link "${link}")
    get_filename_component(file "${folder}/${link}" ABSOLUTE BASE_DIR ${PROJECT_SOURCE_DIR})
    file(RELATIVE_PATH file ${PROJECT_SOURCE_DIR} "${file}")
    if(EXISTS ${PROJECT_SOURCE_DIR}/${file} AND NOT file MATCHES "^(docs|examples|specs)/")
      list(APPEND pages ${file})
    endif()
  endforeach()
endforeach()
list(REMOVE_DUPLICATES pages)
foreach(page ${pages})
  get_filename_component(folder ${page} DIRECTORY)
  install(FILES ${page} DESTINATION ${CMAKE_INSTALL_DOCDIR}/${folder})
endforeach()
# install_link(LINK TO): both below the prefix.
function(install_link link to)
  file(RELATIVE_PATH way ${CMAKE_INSTALL_PREFIX}/${link}/.. ${CMAKE_INSTALL_PREFIX}/${to})
  install(CODE "file(CREATE_LINK \"${way}\"
    \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${link}\" SYMBOLIC)")
endfunction()
if(NOT IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR} AND NOT IS_ABSOLUTE ${CMAKE_INSTALL_DOCDIR})
  install_link(${CMAKE_INSTALL_DOCDIR}/specs ${data}/specs)
  install_link(${data}/python/attnc/lib ${libdir}) # where the package looks for libraries
endif()

# ---- from the table of options: the manual page, completions ----

if(NOT CMAKE_CROSSCOMPILING)
  set(generated "")
  # generated(FILE FOLDER RENAME arguments…): what the command prints.
  function(generated file folder name)
    add_custom_command(OUTPUT ${PROJECT_BINARY_DIR}/gen/${file}
      COMMAND $<TARGET_FILE:attnc_cli> ${ARGN} > ${PROJECT_BINARY_DIR}/gen/${file}
      DEPENDS attnc_cli VERBATIM)
    install(FILES ${PROJECT_BINARY_DIR}/gen/${file} DESTINATION ${folder} RENAME ${name})
    set(generated ${generated} ${PROJECT_BINARY_DIR}/gen/${file} PARENT_SCOPE)
  endfunction()
  set(share ${CMAKE_INSTALL_DATADIR})
  generated(attnc.1 ${CMAKE_INSTALL_MANDIR}/man1 attnc.1 help --man)
  generated(attnc.bash ${share}/bash-completion/completions attnc completion bash)
  generated(attnc.zsh ${share}/zsh/site-functions _attnc completion zsh)
  generated(attnc.fish ${share}/fish/vendor_completions.d attnc.fish completion fish)
  add_custom_target(attnc_generated ALL DEPENDS ${generated})
endif()

# ---- the portable folder ----

install(TARGETS ${shipped} RUNTIME DESTINATION . COMPONENT portable EXCLUDE_FROM_ALL
  LIBRARY DESTINATION . COMPONENT portable EXCLUDE_FROM_ALL)
install(DIRECTORY include schema specs python DESTINATION . COMPONENT portable
  EXCLUDE_FROM_ALL PATTERN tests EXCLUDE PATTERN __pycache__ EXCLUDE PATTERN ".*_cache" EXCLUDE
  PATTERN CMakeLists.txt EXCLUDE PATTERN "*-requirements.txt" EXCLUDE)
install(FILES LICENSE DESTINATION . COMPONENT portable EXCLUDE_FROM_ALL)
# Terms of what is inside the libraries: they ask to travel with them.
foreach(package llvm-22-dev libyaml-dev libjansson-dev zlib1g-dev libzstd-dev libstdc++-12-dev libsodium-dev)
  install(FILES /usr/share/doc/${package}/copyright DESTINATION licenses RENAME ${package}
    COMPONENT portable EXCLUDE_FROM_ALL OPTIONAL)
endforeach()
if(ATTNC_LLVM_STATIC)
  set(portable ${PROJECT_BINARY_DIR}/attnc-portable)
  add_custom_target(portable
    COMMAND ${CMAKE_COMMAND} -E rm -rf ${portable}
    COMMAND ${CMAKE_COMMAND} --install ${PROJECT_BINARY_DIR} --prefix ${portable}
      --component portable --strip
    COMMAND ${PROJECT_SOURCE_DIR}/scripts/portable-check ${portable}
    DEPENDS ${shipped} VERBATIM)
endif()
