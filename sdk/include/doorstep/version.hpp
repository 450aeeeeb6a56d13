// The version of Doorstep. CMake reads it from here, so that the package, the programs and the header agree.
#pragma once

#define DOORSTEP_VERSION_MAJOR 0
#define DOORSTEP_VERSION_MINOR 1
#define DOORSTEP_VERSION_PATCH 0

namespace doorstep {

/// "0.1.0", of the headers that the program was compiled with.
inline constexpr const char* version = "0.1.0";

}  // namespace doorstep
